// The page's address is the state of the search: what the shopper does changes the address, and the address is asked for.
const LIVE_MS = 300;
const DIM_MS = 400;
const SLOW_MS = 3000;
const STUCK_MS = 15000;
const PROBE_MS = 2000;

const find = (selector) => element.querySelector(selector);
const [form, words, weight] = ['form', '#words', '#weight'].map(find);
const page = element.closest('.tabitem');
const params = () => new URLSearchParams(location.search);

// Asking: one request at a time, then again if the address has changed meanwhile, so that the latest wins.
let asking = null;
let changedMeanwhile = false;
let answered = null;
let timers = [];

const searchOf = (query) => {
  const search = new URLSearchParams(query);
  search.delete('product');
  search.sort();
  return search.toString();
};
const quiet = () => {
  timers.forEach(clearTimeout);
  page.classList.remove('waiting');
  find('.slow').hidden = true;
};
const send = () => {
  asking = location.search;
  changedMeanwhile = false;
  quiet();
  timers = [
    setTimeout(() => page.classList.add('waiting'), DIM_MS),
    setTimeout(() => { find('.slow').hidden = false; probe(); }, SLOW_MS),
    setTimeout(() => warn('stuck', () => location.reload()), STUCK_MS),
  ];
  trigger('ask', { address: asking });
};
const ask = () => {
  changedMeanwhile = true;
  if (asking === null) send();
};
document.addEventListener('answered', ({ detail: succeeded }) => {
  const sent = asking;
  asking = null;
  quiet();
  if (changedMeanwhile) { send(); return; }
  page.classList.remove('opening');
  find('.banner').hidden = succeeded;
  if (!succeeded) { warn('failed', ask); probe(); return; }
  const product = new URLSearchParams(sent).has('product');
  if (!product) answered = searchOf(sent);
  requestAnimationFrame(() => turn(product));
});

// A server that is gone: a banner, and the page as it was once the server is back.
let tryAgain = ask;
const warn = (problem, action) => {
  find('.banner span').textContent = find('.banner').dataset[problem];
  find('.banner').hidden = false;
  tryAgain = action;
};
find('.again').addEventListener('click', () => { find('.banner').hidden = true; tryAgain(); });
let lost = false;
let nextProbe = null;
const probe = async () => {
  clearTimeout(nextProbe);
  try {
    await fetch('api/v1/health/live', { cache: 'no-store' });
    if (lost) location.reload();
  } catch {
    lost = true;
    warn('gone', () => location.reload());
    nextProbe = setTimeout(probe, PROBE_MS);
  }
};

// The product page stands in the place of the results; leaving it leads back to the same card.
let cardBefore = null;
let firstNew = null;
let scrollBefore = 0;
const turn = (product) => {
  const before = page.classList.contains('at-product');
  document.querySelectorAll('#results .card')[firstNew]?.focus({ preventScroll: true });
  firstNew = null;
  page.classList.toggle('at-product', product);
  if (product) {
    document.querySelector('#product').scrollIntoView({ block: 'start' });
    document.querySelector('#product h2')?.focus({ preventScroll: true });
  } else if (before) {
    scrollTo(0, cardBefore?.isConnected ? scrollBefore : 0);
    cardBefore?.focus({ preventScroll: true });
  }
};

// Going: one entry of the history per deliberate search; what is still typed or dragged stays in one entry, by its kind.
const show = () => {
  fill();
  if (!params().has('product') && searchOf(location.search) === answered && asking === null) turn(false);
  else ask();
};
const go = (wanted, { kind = null, stay = false } = {}) => {
  const query = withTyped(wanted);
  const target = query === '?' ? location.pathname : query;
  const last = history.state ?? {};
  const isProduct = new URLSearchParams(query).has('product');
  const depth = isProduct ? (last.depth ?? 0) + 1 : 0;
  if (stay || (kind && last.kind === kind) || location.search === query) {
    history.replaceState({ kind, depth: last.depth ?? 0 }, '', target);
  } else {
    history.replaceState({ ...last, kind: null }, '');
    history.pushState({ kind, depth }, '', target);
  }
  show();
};
const changed = (fields) => {
  const query = params();
  for (const [name, value] of Object.entries({ shown: null, product: null, ...fields })) {
    if (value === null || value === '') query.delete(name); else query.set(name, value);
  }
  return `?${query}`;
};
const fresh = () => (params().has('lang') ? `?lang=${params().get('lang')}` : '?');
let typing = null;
const withTyped = (query) => {
  if (typing === null) return query;
  clearTimeout(typing);
  typing = null;
  const next = new URLSearchParams(query);
  if (next.get('q') !== params().get('q') || words.value.trim() === '') return query;
  next.set('q', words.value.trim());
  return `?${next}`;
};
const fill = () => {
  const now = params();
  const hasPhoto = now.has('photo') || now.has('like');
  if (words.value.trim() !== (now.get('q') ?? '')) words.value = now.get('q') ?? '';
  words.placeholder = hasPhoto ? words.dataset.but : words.dataset.example;
  weight.value = now.get('weight') ?? 50;
  find('.weight').hidden = !(hasPhoto && now.get('q'));
  find('.own').hidden = now.get('photo') !== 'own';
  if (now.get('photo') !== 'own') removeUpload();
};
addEventListener('popstate', show);

document.addEventListener('click', (click) => {
  const target = click.target.closest('[data-go]');
  if (!target || click.ctrlKey || click.metaKey || click.shiftKey || click.altKey) return;
  click.preventDefault();
  if (target.matches('.card') && !page.classList.contains('at-product')) {
    cardBefore = target;
    scrollBefore = scrollY;
  }
  if ('stay' in target.dataset) firstNew = document.querySelectorAll('#results .card').length;
  if ('back' in target.dataset && history.state?.depth) history.go(-history.state.depth);
  else go(target.dataset.go || fresh(), { stay: 'stay' in target.dataset });
  if (target.dataset.focus) document.getElementById(target.dataset.focus).focus();
});

// A predicted category: it narrows what is searched, or is searched itself.
document.addEventListener('click', (click) => {
  const link = click.target.closest('[data-narrow]');
  if (link === null || click.ctrlKey || click.metaKey || click.shiftKey || click.altKey) return;
  click.preventDefault();
  const query = new URLSearchParams(changed({ category: null }));
  const searched = ['q', 'photo', 'like'].some((name) => query.has(name));
  new URLSearchParams(link.dataset.narrow).forEach((level) => query.append('category', level));
  document.querySelector('[role=tablist] [role=tab]').click();
  go(searched ? `?${query}` : link.getAttribute('href'));
});

// Another language: the page anew, with the same search.
document.addEventListener('click', ({ target }) => {
  const link = target.closest('[data-lang]');
  if (link === null) return;
  const query = params();
  query.set('lang', link.dataset.lang);
  link.href = withTyped(`?${query}`);
});

// Words: searched while they are typed, at once with Enter.
words.addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    typing = null;
    if (words.value.trim() !== (params().get('q') ?? '')) go(changed({ q: words.value.trim() }), { kind: 'words' });
  }, LIVE_MS);
});
form.addEventListener('submit', (submit) => {
  submit.preventDefault();
  const query = changed({ q: words.value.trim() });
  answered = null;
  go(query, { stay: history.state?.kind === 'words' });
});

weight.addEventListener('change', () => go(changed({ weight: weight.value === '50' ? null : weight.value }), { kind: 'weight' }));
document.addEventListener('change', ({ target }) => {
  if (target.matches('#results select[name=sort]')) go(changed({ sort: target.value === 'match' ? null : target.value }));
  if (target.matches('#panel .limits input')) go(changed({ [target.name]: target.value }), { kind: 'price' });
});

// The photo: Gradio's input takes and uploads it; pasted ones and those dropped anywhere else are handed to it.
let replacing = false;
const removeUpload = () => document.querySelector('#ask [aria-label="Remove Image"]')?.click();
const take = (file) => {
  replacing = true;
  removeUpload();
  const hand = (tries) => {
    const input = document.querySelector('#ask input[type=file]');
    if (input === null) { if (tries > 0) requestAnimationFrame(() => hand(tries - 1)); return; }
    const files = new DataTransfer();
    files.items.add(file);
    input.files = files.files;
    input.dispatchEvent(new Event('change', { bubbles: true }));
    replacing = false;
  };
  requestAnimationFrame(() => hand(60));
};
document.addEventListener('photo', ({ detail: file }) => {
  if (file === null && (replacing || params().get('photo') !== 'own')) return;
  answered = null;
  go(changed({ photo: file && 'own', like: null, box: null, weight: null }));
});
document.addEventListener('frame', ({ detail: { box, kind } }) => go(changed({ box }), { kind }));
document.addEventListener('paste', (paste) => {
  const photo = [...paste.clipboardData.files].find((file) => file.type.startsWith('image/'));
  if (photo && form.offsetParent !== null) { paste.preventDefault(); take(photo); }
});
const hasFiles = (drag) => drag.dataTransfer.types.includes('Files') && !drag.defaultPrevented;
document.addEventListener('dragover', (drag) => { if (hasFiles(drag)) drag.preventDefault(); });
document.addEventListener('drop', (drop) => {
  if (!hasFiles(drop)) return;
  drop.preventDefault();
  const photo = [...drop.dataTransfer.files].find((file) => file.type.startsWith('image/'));
  if (photo && form.offsetParent !== null) take(photo);
});

if ([...params().keys()].some((name) => name !== 'lang')) page.classList.add('opening');
show();
