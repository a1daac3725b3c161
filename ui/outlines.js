// The products that were found in a photo: handed to frame.js, which lays them on it.
watch('value', () => {
  const found = element.querySelector('[data-photo]');
  const detail = found && { photo: found.dataset.photo, buttons: found.innerHTML };
  document.dispatchEvent(new CustomEvent('outlines', { detail }));
});
