// Runs before Gradio, which takes the browser's language: the address's comes first, then the first that the page has.
const address = new URLSearchParams(location.search);
const asked = address.get('lang');
const spoken = navigator.languages.map((tag) => tag.slice(0, 2));
const code = [asked, ...spoken].find((one) => Object.hasOwn(LOCALES, one)) ?? 'en';
if (code !== (asked ?? 'en')) {
  address.set('lang', code);
  history.replaceState(history.state, '', `?${address}`);
}
Object.defineProperty(navigator, 'language', { value: LOCALES[code] });
document.documentElement.lang = LOCALES[code];
