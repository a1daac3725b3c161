// The photo of the search: its frame is moved, resized at its corners and drawn anew, by mouse, touch or arrow keys.
const STEP = 0.02;
const SMALLEST = 0.1; // the model takes less than 1 % of a photo for no product
const KEYS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
const KEY_MS = 300;
const DRAG_PIXELS = 4; // less is a tap
const TOUCH_PIXELS = 24; // a product is at least so large for a finger

const frame = () => element.querySelector('.frame');
const limited = (value, low, high) => Math.min(Math.max(value, low), high);
const sides = ({ style }) => {
  const [left, top, width, height] = ['left', 'top', 'width', 'height'].map((side) => parseFloat(style[side]) / 100);
  return [left, top, left + width, top + height];
};
const shown = () => sides(frame());
const place = ([x0, y0, x1, y1]) => {
  const placed = { left: x0, top: y0, width: x1 - x0, height: y1 - y0 };
  for (const [side, part] of Object.entries(placed)) frame().style[side] = `${(100 * part).toFixed(2)}%`;
};
let pressed = null;
const search = (box, kind = 'box') => {
  clearTimeout(pressed);
  document.dispatchEvent(new CustomEvent('frame', { detail: { box: box.map((side) => side.toFixed(3)).join(','), kind } }));
};

const moved = ([x0, y0, x1, y1], dx, dy) => {
  const [x, y] = [limited(dx, -x0, 1 - x1), limited(dy, -y0, 1 - y1)];
  return [x0 + x, y0 + y, x1 + x, y1 + y];
};
const resized = ([x0, y0, x1, y1], dx, dy, corner) => [
  corner.includes('w') ? limited(x0 + dx, 0, x1 - SMALLEST) : x0,
  corner.includes('n') ? limited(y0 + dy, 0, y1 - SMALLEST) : y0,
  corner.includes('e') ? limited(x1 + dx, x0 + SMALLEST, 1) : x1,
  corner.includes('s') ? limited(y1 + dy, y0 + SMALLEST, 1) : y1,
];
const drawn = ([x, y], dx, dy) => {
  const [toX, toY] = [limited(x + dx, 0, 1), limited(y + dy, 0, 1)];
  return [Math.min(x, toX), Math.min(y, toY), Math.max(x, toX), Math.max(y, toY)];
};

const area = ([x0, y0, x1, y1]) => (x1 - x0) * (y1 - y0);
const pick = ([x, y], reachX, reachY) => {
  const [smallest] = [...element.querySelectorAll('.outline:not([hidden])')].map(sides).filter(([x0, y0, x1, y1]) =>
    Math.abs(x - (x0 + x1) / 2) <= Math.max((x1 - x0) / 2, reachX) && Math.abs(y - (y0 + y1) / 2) <= Math.max((y1 - y0) / 2, reachY))
    .sort((one, other) => area(one) - area(other));
  if (smallest !== undefined) search(smallest, null);
};

let drag = null;
let pointing = false;
element.addEventListener('pointerdown', (press) => {
  const photo = press.target.closest('.photo');
  if (photo === null || press.button !== 0) return;
  press.preventDefault();
  const { left, top, width, height } = photo.getBoundingClientRect();
  const before = shown();
  const at = [(press.clientX - left) / width, (press.clientY - top) / height];
  const { corner } = press.target.dataset;
  const whole = before[2] - before[0] > 0.99 && before[3] - before[1] > 0.99;
  const inside = press.target === frame() && !whole;
  const change = corner ? (x, y) => resized(before, x, y, corner)
    : inside ? (x, y) => moved(before, x, y) : (x, y) => drawn(at, x, y);
  const far = ({ clientX, clientY }) => Math.hypot(clientX - press.clientX, clientY - press.clientY) >= DRAG_PIXELS;
  drag = {
    before, box: before, keepsSize: !corner && inside,
    to: (move) => (drag.box !== before || far(move)
      ? change((move.clientX - left) / width - at[0], (move.clientY - top) / height - at[1]) : before),
    tap: () => pick(at, TOUCH_PIXELS / 2 / width, TOUCH_PIXELS / 2 / height),
  };
  pointing = true;
  element.setPointerCapture(press.pointerId);
  frame().focus({ preventScroll: true });
});
element.addEventListener('pointermove', (move) => {
  if (drag === null) return;
  drag.box = drag.to(move);
  place(drag.box);
});
const release = ({ type }) => {
  if (drag === null) return;
  const { before, box, keepsSize, tap } = drag;
  drag = null;
  setTimeout(() => { pointing = false; }); // after the click that follows
  if (type !== 'pointerup') place(before);
  else if (box === before) tap();
  else if (keepsSize || (box[2] - box[0] >= SMALLEST && box[3] - box[1] >= SMALLEST)) search(box);
  else place(before);
};
element.addEventListener('pointerup', release);
element.addEventListener('pointercancel', release);

// All products in the photo: looked for once per photo, one photo after the other, and laid on it. The frame lies over them,
// so that it can be dragged everywhere; a press that drags nothing picks the product below.
let outlines = { photo: null, buttons: '' };
let looking = null;
let missed = null;
const overlap = ([a0, b0, a1, b1], [x0, y0, x1, y1]) => {
  const shared = Math.max(0, Math.min(a1, x1) - Math.max(a0, x0)) * Math.max(0, Math.min(b1, y1) - Math.max(b0, y0));
  return shared / (area([a0, b0, a1, b1]) + area([x0, y0, x1, y1]) - shared);
};
const lay = () => {
  const figure = element.querySelector('.framed[data-photo]');
  if (figure === null) return;
  const { photo, address } = figure.dataset;
  if (photo === outlines.photo) {
    if (figure.querySelector('.outline') === null) figure.querySelector('.photo').insertAdjacentHTML('beforeend', outlines.buttons);
    figure.querySelectorAll('.outline').forEach((one) => { one.hidden = overlap(sides(one), shown()) > 0.7; });
  } else if (looking === null && photo !== missed) {
    looking = photo;
    trigger('look', { address });
  }
};
document.addEventListener('outlines', ({ detail }) => {
  const found = new DOMParser().parseFromString(detail ?? '', 'text/html').querySelector('[data-photo]');
  if (found?.dataset.photo === looking) outlines = { photo: looking, buttons: found.innerHTML }; else missed = looking;
  looking = null;
  lay();
});
element.addEventListener('click', ({ target }) => {
  if (pointing || !target.matches('.outline')) return;
  frame().focus({ preventScroll: true });
  search(sides(target), null);
});
watch('value', () => {
  if (drag !== null && frame() !== null) place(drag.box);
  lay();
});

element.addEventListener('keydown', (press) => {
  if (press.target !== frame() || !(press.key in KEYS)) return;
  press.preventDefault();
  const [x, y] = KEYS[press.key];
  const box = press.shiftKey ? resized(shown(), x, y, 'se') : moved(shown(), x, y);
  place(box);
  clearTimeout(pressed);
  pressed = setTimeout(() => search(box), KEY_MS);
});
