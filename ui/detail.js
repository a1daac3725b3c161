// Shows the product page in the place of the results under an address of its own, and leads back to the same card.
const productInAddress = () => new URLSearchParams(location.search).get('product');
const isShown = () => element.querySelector('.detail') !== null;
let cardBefore = null;
let scrollBefore = 0;

document.addEventListener('click', ({ target }) => {
  if (isShown() || target.closest('.card') === null) return;
  cardBefore = target.closest('.card');
  scrollBefore = window.scrollY;
}, true);

watch('value', () => {
  if (isShown()) {
    element.scrollIntoView({ block: 'start' });
    element.querySelector('h2').focus({ preventScroll: true });
  } else if (productInAddress() !== null) {
    history.replaceState(null, '', location.pathname);
  }
});

const close = () => {
  props.value = '';
  requestAnimationFrame(() => {
    window.scrollTo(0, scrollBefore);
    cardBefore?.focus({ preventScroll: true });
  });
};
element.addEventListener('click', ({ target }) => {
  if (target.closest('[data-event=close]') === null) return;
  if (history.state?.depth) {
    history.go(-history.state.depth);
  } else {
    history.replaceState(null, '', location.pathname);
    close();
  }
});
window.addEventListener('popstate', () => {
  const id = productInAddress();
  if (id !== null) trigger('open', { id });
  else if (isShown()) close();
});

if (productInAddress() !== null) trigger('open', { id: productInAddress() });
