// The drawer's figures: how deep the mailbox was, how long messages waited and were handled.
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { Line } from '../ui/chart.mjs'
import { us } from './states.mjs'

const SHOWN = 600_000 // ms of the mailbox's past
const FASTEST = 1 // µs, the left end of the scale
const SLOWEST = 100_000_000 // µs, the right end: the histogram's own bounds (supervision.md §15)

export function MailboxTab({ node, now }) {
  const { mailbox = {}, ring = [] } = node
  const first = ring.findIndex((value, i) => i % 2 === 0 && value >= now - SHOWN)
  const facts = ['depth', 'control', 'capacity', 'policy', 'high_water', 'dropped', 'expired'].filter((name) => mailbox[name] != null)
  return html`
    <figure><${Line} points=${first < 0 ? [] : ring.slice(first)} from=${now - SHOWN} to=${now} ceiling=${mailbox.high_water} label=${t('actors.mailbox.past', { depth: mailbox.depth ?? 0, high: mailbox.high_water ?? 0 })} />
      <figcaption class="muted">${t('actors.mailbox.caption')}</figcaption></figure>
    <dl>${facts.map((name) => html`<div key=${name}><dt>${t(`actors.fact.${name}`)}</dt><dd>${typeof mailbox[name] === 'number' ? number(mailbox[name]) : mailbox[name]}</dd></div>`)}</dl>`
}

// Percentiles on a logarithmic scale, so that 20 µs and 4 s are both seen, and the same in numbers.
export function LatencyTab({ node: { latency_us: latency } }) {
  if (!latency?.wait && !latency?.handle) return html`<p class="muted">${t('actors.latency.none')}</p>`
  const names = ['p50', 'p95', 'p99', 'max']
  const x = (value) => (Math.log(Math.min(SLOWEST, Math.max(FASTEST, value)) / FASTEST) / Math.log(SLOWEST / FASTEST)) * 100
  return html`
    ${['wait', 'handle'].filter((kind) => latency[kind]).map((kind) => {
      const known = names.filter((name) => latency[kind][name] != null)
      return html`
        <figure key=${kind}><h3>${t(`actors.tap.${kind}`)}</h3>
          <svg class="spread" viewBox="0 0 100 14" preserveAspectRatio="none" role="img" aria-label=${known.map((name) => `${name} ${us(latency[kind][name])}`).join(', ')}>
            ${[...known].reverse().map((name) => html`<rect key=${name} class=${name} y="2" height="10" width=${Math.max(0.8, x(latency[kind][name]))} />`)}
          </svg></figure>`
    })}
    <table class="small-table"><thead><tr><th></th>${names.map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr></thead>
      <tbody>${['wait', 'handle'].map((kind) => html`<tr key=${kind}><th scope="row">${t(`actors.tap.${kind}`)}</th>${names.map((name) => html`<td key=${name}>${us(latency[kind]?.[name])}</td>`)}</tr>`)}</tbody></table>
    <p class="muted">${t('actors.latency.caption')}</p>`
}
