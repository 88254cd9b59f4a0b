// The points of small order of edwards25519, worked out from the curve's equation (RFC 8032, section 5.1) and not from a list.

const P = 2n ** 255n - 19n;
const mod = (x) => ((x % P) + P) % P;

function power(base, exponent) {
  let result = 1n;
  for (let b = mod(base), e = exponent; e > 0n; e >>= 1n, b = mod(b * b)) if (e & 1n) result = mod(result * b);
  return result;
}

const inverse = (x) => power(x, P - 2n);
const D = mod(-121665n * inverse(121666n));
const ROOT_OF_MINUS_1 = power(2n, (P - 1n) / 4n);

/** A square root, or undefined. */
function root(square) {
  const candidate = power(square, (P + 3n) / 8n);
  return [candidate, mod(candidate * ROOT_OF_MINUS_1)].find((x) => mod(x * x) === mod(square));
}

function add([x1, y1], [x2, y2]) {
  const product = mod(D * x1 * x2 * y1 * y2);
  return [mod((x1 * y2 + x2 * y1) * inverse(1n + product)), mod((y1 * y2 + x1 * x2) * inverse(1n - product))];
}

/** 32 bytes, little-endian, as RFC 8032 writes numbers. */
export const bytesOf = (number) => Buffer.from(number.toString(16).padStart(64, '0'), 'hex').reverse();

/** The multiples of a point of order 8: it has the form whose double is (±√-1, 0). */
function smallOrderPoints() {
  for (let seed = 2n; ; seed += 1n) {
    const square = mod((seed * seed - 1n) * inverse(D * seed * seed + 1n));
    const x = root(square);
    if (x === undefined) continue;
    // The group has 8·l elements, l prime: l times any point has an order that divides 8.
    const order = 2n ** 252n + 27742317777372353535851937790883648493n;
    let [torsion, doubled] = [[0n, 1n], [x, seed]];
    for (let e = order; e > 0n; e >>= 1n, doubled = add(doubled, doubled)) if (e & 1n) torsion = add(torsion, doubled);
    const multiples = [[0n, 1n]];
    while (multiples.length < 8) multiples.push(add(multiples.at(-1), torsion));
    if (new Set(multiples.map(String)).size === 8) return multiples;
  }
}

let encodings;

/** Every 32 bytes that a lenient decoder reads as one of those points: y or y + p where that fits, either sign of x. */
export function smallOrderEncodings() {
  if (encodings === undefined) {
    const found = new Set();
    for (const [, y] of smallOrderPoints()) {
      for (const encoded of [y, y + P]) {
        if (encoded >= 2n ** 255n) continue;
        for (const sign of [0n, 2n ** 255n]) found.add(encoded + sign);
      }
    }
    encodings = [...found].map(bytesOf);
  }
  return encodings;
}
