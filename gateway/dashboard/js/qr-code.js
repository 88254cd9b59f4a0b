// A QR code (ISO/IEC 18004) as a picture that is sharp at any size.

import qrcode from "../vendor/qrcode-generator/qrcode.mjs";

const SVG = "http://www.w3.org/2000/svg";
/** Modules that stay light around it: readers find its edges by them. */
const QUIET = 4;

/** The code of `text`, which `label` describes to who does not see it. */
export function qrCode(text, label) {
  // The smallest that holds it, with a seventh of it to spare for dirt.
  const code = qrcode(0, "M");
  code.addData(text);
  code.make();
  const size = code.getModuleCount();
  let dark = "";
  for (let row = 0; row < size; row += 1) {
    for (let column = 0; column < size; column += 1) {
      if (code.isDark(row, column)) dark += `M${column} ${row}h1v1h-1z`;
    }
  }
  const picture = element("svg", {
    viewBox: `${-QUIET} ${-QUIET} ${size + 2 * QUIET} ${size + 2 * QUIET}`, class: "qr-code", role: "img", "aria-label": label,
    "shape-rendering": "crispEdges",
  });
  picture.append(element("path", { d: dark }));
  return picture;
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  return made;
}
