// "Why it matched" on the product page asks for the heatmap of the picture, which then stands in its place.
element.addEventListener('click', ({ target }) => {
  if (target.closest('[data-why]')) trigger('why', { address: location.search });
});
