// The columns of the grid: what each shows, how wide it is, and which of them this browser shows (dashboard.md §7.2).
import { signal } from '@preact/signals'
import { compact, duration } from '../core/format.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { refine, route } from '../core/router.mjs'
import { Meter } from '../ui/chart.mjs'
import { Icon } from '../ui/parts.mjs'
import { Glyph, Name, Redacted, stateHint, stateText, us, Zombie } from './states.mjs'
import { busy, fullness } from './tree.mjs'

export const COLUMNS = {
  name: 'minmax(180px, 2.4fr)', class: 'minmax(92px, 0.9fr)', state: 'minmax(112px, 1.2fr)', mailbox: '112px', in_hand: 'minmax(96px, 1fr)',
  rate: '64px', wait: '68px', handle: '76px', restarts: '76px', uptime: '68px', memory: '68px',
}
const NARROW = { name: 'minmax(0, 1.5fr)', state: 'minmax(0, 1fr)', mailbox: '64px', restarts: '44px' }
const BRIEF = ['name', 'state', 'mailbox', 'in_hand', 'restarts'] // beside the drawer
const GAP = 14 // px, as in actors.css
const PADDING = 20
const KEPT = 'goclaw.actors.look'
const FIRST = { hidden: ['memory'], dense: false }

const stored = localStorage.getItem(KEPT)
export const look = signal(stored ? JSON.parse(stored) : FIRST) // {hidden: names, dense}
export function change(news) {
  look.value = { ...look.value, ...news }
  localStorage.setItem(KEPT, JSON.stringify(look.value))
}

export function columnsFor(narrow, brief) {
  if (narrow) return NARROW
  return Object.fromEntries(Object.entries(COLUMNS).filter(([name]) => !look.value.hidden.includes(name) && (!brief || BRIEF.includes(name))))
}

// px below which the row scrolls sideways: the least widths, the gaps, the padding.
export const leastOf = (columns) => Object.values(columns).reduce((sum, width) => sum + Number(/\d+/.exec(width)[0]) + GAP, 2 * PADDING - GAP)

export function ColumnMenu() {
  const { hidden, dense } = look.value
  const flip = (name) => change({ hidden: hidden.includes(name) ? hidden.filter((one) => one !== name) : [...hidden, name] })
  return html`
    <details class="menu" onKeyDown=${(event) => event.key === 'Escape' && (event.currentTarget.open = false)}>
      <summary class="button" title=${t('actors.columns')}><${Icon} name="columns-3" /><span class="unseen">${t('actors.columns')}</span></summary>
      <div class="menu-box">
        ${Object.keys(COLUMNS).slice(1).map((name) => html`
          <label key=${name} class="check"><input type="checkbox" checked=${!hidden.includes(name)} onChange=${() => flip(name)} /> ${t(`actors.col.${name}`)}</label>`)}
        <label class="field menu-last">${t('actors.sort')}<select onChange=${(event) => refine({ sort: event.target.value })}>
          ${['', ...Object.keys(COLUMNS).flatMap((name) => [name, `-${name}`])].map((sort) => html`<option key=${sort} value=${sort} selected=${sort === (route.value.query.sort ?? '')}>${orderText(sort)}</option>`)}</select></label>
        <label class="check"><input type="checkbox" checked=${dense} onChange=${() => change({ dense: !dense })} /> ${t('actors.dense')}</label>
      </div>
    </details>`
}

const orderText = (sort) => (sort === '' ? t('actors.sort.none') : `${t(`actors.col.${sort.replace('-', '')}`)} ${sort.startsWith('-') ? '↓' : '↑'}`)

// What a cell of each column holds; `now` is the gateway's clock.
export const CELLS = {
  class: (node) => node.class,
  state: (node, now) => html`<span title=${stateHint(node, now)}>${stateText(node, now)}</span><${Zombie} node=${node} />`,
  mailbox: (node) => html`<${Mailbox} node=${node} />`,
  in_hand: ({ in_hand: hand }) => hand && html`<span class="muted">${duration(hand.age_ms)}</span> <span class="message-type" title=${hand.type}>${hand.type}</span>`,
  rate: ({ rate }) => rate != null && number(Math.round(rate)),
  wait: ({ latency_us: latency }) => us(latency?.wait?.p95),
  handle: ({ latency_us: latency }) => us(latency?.handle?.p95),
  restarts: (node) => (node.restarts_total > 0 || node.restarts_window > 0) && html`<span data-some=${node.restarts_window > 0} title=${t('actors.restarts.hint', { total: node.restarts_total ?? 0, recent: node.restarts_window ?? 0 })}>${restarts(node)}</span>`,
  uptime: ({ started_at: since, state }, now) => since && state === 'running' && duration(Math.max(0, now - new Date(since))),
  memory: ({ bytes: size }) => size != null && `${number(Math.max(1, Math.round(size / 1024)))} KB`,
}

export const NameCell = ({ node, now }) => html`
  <${Glyph} node=${node} now=${now} />${busy(node) && html`<${Icon} name="hourglass" />`}<${Name} node=${node} />
  <${Redacted} node=${node} />${node.children_total > 0 && html`<span class="count" title=${number(node.children_total)}>${node.children_total < 10_000 ? number(node.children_total) : compact(node.children_total)}</span>`}`

const restarts = ({ restarts_total: total, restarts_window: recent }) => (recent > 0 ? t('actors.restarts', { total: Math.max(total ?? 0, recent), recent }) : total ? number(total) : '')

function Mailbox({ node }) {
  const { depth, capacity, high_water: high, dropped } = node.mailbox ?? {}
  if (depth == null) return null
  const full = fullness(node)
  const level = full >= 1 ? 'over' : full >= 0.8 ? 'high' : 'calm'
  return html`<span class="mailbox" data-level=${level} title=${t('actors.mailbox', { depth, capacity: capacity ?? '∞', high: high ?? 0, dropped: dropped ?? 0 })}>
    <${Meter} value=${full} most=${1} mark=${capacity && (high ?? 0) / capacity} level=${level} />
    <span>${number(depth)}${capacity != null && html`<span class="muted">/${number(capacity)}</span>`}</span></span>`
}
