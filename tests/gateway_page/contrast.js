// The texts that are worst to read: every text that is shown, with the contrast of its colour to
// what is behind it, by the definition of WCAG 2. Returns [ratio, text] of the worst three.
const parse = (color) => {
  const [r, g, b, a = 1] = color.match(/[\d.]+/g).map(Number);
  return { r, g, b, a };
};
const over = (front, back) => {
  const mix = (x, y) => x * front.a + y * (1 - front.a);
  return { r: mix(front.r, back.r), g: mix(front.g, back.g), b: mix(front.b, back.b), a: 1 };
};
const luminance = ({ r, g, b }) => {
  const linear = (part) => {
    const x = part / 255;
    return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
};
const behind = (element) => {
  if (!element) return { r: 255, g: 255, b: 255, a: 1 };
  const own = parse(getComputedStyle(element).backgroundColor);
  return own.a === 1 ? own : over(own, behind(element.parentElement));
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const worst = [];
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  const text = walker.currentNode.textContent.trim();
  const box = element.getBoundingClientRect();
  const style = getComputedStyle(element);
  const unseen = element.closest(".unseen, .skip, script, style") || !element.checkVisibility()
    || box.width === 0 || style.opacity === "0";
  if (!text || unseen) continue;
  const back = behind(element);
  const [high, low] = [luminance(over(parse(style.color), back)), luminance(back)]
    .sort((x, y) => y - x);
  worst.push([(high + 0.05) / (low + 0.05), text]);
}
return worst.sort((x, y) => x[0] - y[0]).slice(0, 3);
