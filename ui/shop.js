// Runs in every HTML component of the page with Gradio's element, trigger, props and watch.
// The server's HTML does not know what the shopper has unfolded, so every update would fold it again.
const unfolded = new Set(matchMedia('(min-width: 768px)').matches ? ['filters'] : []);
const unfold = () => element.querySelectorAll('details[id]').forEach((part) => { part.open = unfolded.has(part.id); });
element.addEventListener('toggle', ({ target }) => {
  if (target.open) unfolded.add(target.id); else unfolded.delete(target.id);
}, true);
watch('value', () => {
  unfold();
  element.querySelectorAll('select').forEach((choice) => { choice.value = choice.querySelector('[selected]')?.value; });
});

element.addEventListener('error', ({ target }) => {
  if (target.tagName === 'IMG') target.parentElement.classList.add('missing');
}, true);
