// The files of a batch, chosen one by one or as a folder: each is uploaded by itself, so that no request is large and a
// file that does not get through costs only itself.
const AT_ONCE = 4;
const find = (selector) => element.querySelector(selector);
const picker = find('.picker');
const kinds = picker.dataset.kinds.split(' ');
const nameOf = (file) => file.webkitRelativePath.split('/').slice(1).join('/') || file.name;
const isWanted = (file) => !file.name.startsWith('.') && file.size <= Number(picker.dataset.bytes)
  && kinds.some((kind) => file.name.toLowerCase().endsWith(kind));
const say = (place, values) => {
  place.textContent = Object.entries(values).reduce(
    (words, [name, value]) => words.replace(`{${name}}`, value.toLocaleString(document.documentElement.lang || 'en')),
    place.dataset.text,
  );
};

const uploadAll = async (files) => {
  const uploaded = [];
  let done = 0;
  const show = () => {
    find('.uploaded progress').max = files.length;
    find('.uploaded progress').value = done;
    say(find('.uploaded span'), { done, count: files.length });
  };
  const queue = files.entries();
  const work = async () => {
    for (const [place, file] of queue) {
      try {
        const { path } = await upload(file);
        uploaded[place] = { path, orig_name: nameOf(file), size: file.size, meta: { _type: 'gradio.FileData' } };
      } catch { /* counted as left out */ }
      done += 1;
      show();
    }
  };
  show();
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return uploaded.filter(Boolean);
};

element.addEventListener('change', async ({ target }) => {
  const chosen = [...target.files].sort((a, b) => nameOf(a).localeCompare(nameOf(b), 'en', { numeric: true }));
  const inputs = element.querySelectorAll('input');
  inputs.forEach((input) => { input.disabled = true; input.value = ''; });
  find('.left-out').textContent = '';
  find('.uploaded').hidden = false;
  // One more than a batch holds: the server then says that there were more.
  const wanted = chosen.filter(isWanted).slice(0, Number(picker.dataset.files) + 1);
  picker.uploaded = await uploadAll(wanted);
  find('.uploaded').hidden = true;
  inputs.forEach((input) => { input.disabled = false; });
  const count = chosen.filter((file) => !isWanted(file)).length + wanted.length - picker.uploaded.length;
  if (count) say(find('.left-out'), { count });
  if (chosen.length) trigger('upload');
});
