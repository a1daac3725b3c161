// Runs in every HTML component of the page with Gradio's element, trigger, props and watch.
const EVENTS = ['open', 'toggle', 'clear', 'more', 'example', 'browse'];

element.addEventListener('click', (click) => {
  const target = click.target.closest('[data-event]');
  if (!target || click.ctrlKey || click.metaKey || click.shiftKey || click.altKey) return;
  click.preventDefault();
  const name = target.dataset.event;
  if (name === 'open') {
    history.pushState({ depth: (history.state?.depth ?? 0) + 1 }, '', target.getAttribute('href'));
  }
  if (EVENTS.includes(name)) trigger(name, { ...target.dataset });
});

// The server's HTML does not know what the shopper has unfolded, so every update would fold it again.
const unfolded = new Set(matchMedia('(min-width: 768px)').matches ? ['filters'] : []);
const unfold = () => element.querySelectorAll('details[id]').forEach((part) => { part.open = unfolded.has(part.id); });
element.addEventListener('toggle', ({ target }) => {
  if (target.open) unfolded.add(target.id); else unfolded.delete(target.id);
}, true);
watch('value', unfold);

element.addEventListener('error', ({ target }) => {
  if (target.tagName === 'IMG') target.parentElement.classList.add('missing');
}, true);
