// Small charts as SVG: every one says in words what it shows.
import { html } from '../core/html.mjs'

// Bars of one series. `label` is the summary for those who do not see it, `texts[i]` what a bar says under the pointer.
export function Bars({ values, label, texts }) {
  const most = Math.max(1, ...values)
  const step = 100 / values.length
  return html`
    <svg class="bars" viewBox="0 0 100 20" preserveAspectRatio="none" role="img" aria-label=${label}>
      ${values.map((value, i) => html`<rect key=${i} x=${i * step} y=${20 - Math.max(value ? 2 : 0.6, (value / most) * 20)} width=${step * 0.8}
        height=${Math.max(value ? 2 : 0.6, (value / most) * 20)} data-some=${value > 0}>${texts && html`<title>${texts[i]}</title>`}</rect>`)}
    </svg>`
}

// How much of a whole: `level` colours it (calm, high, over), `mark` is a second value on the same scale.
export const Meter = ({ value, most, mark, level = 'calm' }) => html`
  <svg class="meter" data-level=${level} viewBox="0 0 40 6" preserveAspectRatio="none" aria-hidden="true"><rect y="1" width="40" height="4" />
    <rect class="level" y="1" width=${40 * Math.min(1, value / most)} height="4" />${mark > 0 && html`<rect class="mark" x=${Math.min(39, (mark / most) * 40)} width="1" height="6" />`}</svg>`

// A line through [x, y, x, y …] between `from` and `to`; `ceiling` is the top of the scale.
export function Line({ points, from, to, ceiling, label }) {
  const top = Math.max(1, ceiling ?? 0, ...points.filter((_, i) => i % 2))
  const dots = []
  for (let i = 0; i < points.length; i += 2) dots.push(`${(((points[i] - from) / (to - from)) * 100).toFixed(2)},${(40 - (points[i + 1] / top) * 38).toFixed(2)}`)
  return html`
    <svg class="line" viewBox="0 0 100 40" preserveAspectRatio="none" role="img" aria-label=${label}>
      <polyline points=${dots.join(' ')} vector-effect="non-scaling-stroke" />
    </svg>`
}
