// Shows the product page in the place of the results, with an address of its own, and goes back to where one was.
const productInAddress = () => new URLSearchParams(location.search).get('product');
let resultsScroll = 0;

const settle = (open) => {
  const was = document.body.classList.contains('shows-product');
  if (open && !was) resultsScroll = window.scrollY;
  document.body.classList.toggle('shows-product', open);
  if (open) {
    element.scrollIntoView({ block: 'start' });
    element.querySelector('h2')?.focus({ preventScroll: true });
  } else if (was) {
    if (productInAddress() !== null) history.replaceState(null, '', location.pathname);
    window.scrollTo(0, resultsScroll);
  }
};
const close = () => { props.value = ''; settle(false); };

watch('value', () => settle(props.value !== ''));
element.addEventListener('click', ({ target }) => {
  if (target.closest('[data-event=close]') === null) return;
  if (history.state?.depth) history.go(-history.state.depth); else close();
});
window.addEventListener('popstate', () => {
  const id = productInAddress();
  if (id === null) close(); else trigger('open', { id });
});
if (productInAddress() !== null) trigger('open', { id: productInAddress() });
