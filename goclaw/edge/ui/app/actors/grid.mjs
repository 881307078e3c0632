// The tree as an ARIA treegrid: one tab stop, arrow keys, and only the rows in view in the document.
// Contract: dashboard.md §7.2, §7.3, §7.7.
import { useSignal } from '@preact/signals'
import { useLayoutEffect, useRef } from 'preact/hooks'
import { ago, duration, fullTime } from '../core/format.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { Icon } from '../ui/parts.mjs'
import { fullness, label, parentOf } from './tree.mjs'

const ROW = 30 // px, as --row in actors.css
const SPARE = 8 // rows kept above and below the view

const COLUMNS = ['name', 'class', 'state', 'mailbox', 'in_hand', 'restarts', 'uptime', 'crash']

export function Grid({ rows, now, active, onActive, onToggle, onSiblings, onOpen, onKey }) {
  const box = useRef()
  const top = useSignal(0)
  const height = useSignal(600)
  useLayoutEffect(() => {
    const watch = new ResizeObserver(() => (height.value = box.current.clientHeight))
    watch.observe(box.current)
    return () => watch.disconnect()
  }, [])
  const at = Math.max(0, rows.findIndex((row) => row.node.path === active && !row.more))
  const first = Math.max(0, Math.floor(top.value / ROW) - SPARE)
  const last = Math.min(rows.length, Math.ceil((top.value + height.value) / ROW) + SPARE)
  const shown = [...Array(Math.max(0, last - first)).keys()].map((i) => i + first)
  if (rows.length && (at < first || at >= last)) shown.push(at) // the active row stays in the document

  const move = (index) => {
    let to = Math.min(rows.length - 1, Math.max(0, index))
    const step = to < at ? -1 : 1
    while (rows[to]?.more) to += step
    if (!rows[to]) to = rows.findLastIndex((row) => !row.more)
    onActive(rows[to].node.path)
    const edge = to * ROW
    if (edge < box.current.scrollTop) box.current.scrollTop = edge
    else if (edge + ROW * 2 > box.current.scrollTop + height.value) box.current.scrollTop = edge + ROW * 2 - height.value
  }
  const onKeyDown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || rows.length === 0) return
    const row = rows[at]
    const page = Math.max(1, Math.floor(height.value / ROW) - 2)
    const keys = {
      ArrowDown: () => move(at + 1),
      ArrowUp: () => move(at - 1),
      ArrowRight: () => (row.open === false ? onToggle(row) : row.open && move(at + 1)),
      ArrowLeft: () => (row.open ? onToggle(row) : move(parentOf(rows, at))),
      Home: () => move(0),
      End: () => move(rows.length - 1),
      PageDown: () => move(at + page),
      PageUp: () => move(at - page),
      Enter: () => onOpen(row.node.path),
      '*': () => onSiblings(row),
    }
    const act = keys[event.key]
    if (act) act()
    else if (!onKey(event.key)) return
    event.preventDefault()
  }
  return html`
    <div class="grid" ref=${box} role="treegrid" tabindex="0" aria-label=${t('page.actors')} aria-rowcount=${rows.length + 1}
      aria-colcount=${COLUMNS.length} aria-activedescendant=${rows.length ? `actor-${at}` : undefined}
      onScroll=${() => (top.value = box.current.scrollTop)} onKeyDown=${onKeyDown}>
      <div class="grid-row grid-head" role="row" aria-rowindex="1">
        ${COLUMNS.map((name) => html`<span key=${name} role="columnheader" class="col-${name}">${t(`actors.col.${name}`)}</span>`)}
      </div>
      <div class="grid-rows" role="rowgroup" style=${{ height: `${rows.length * ROW}px` }}>
        ${shown.map((index) => html`<${Row} key=${index} index=${index} row=${rows[index]} now=${now} active=${index === at}
          onActive=${onActive} onToggle=${onToggle} onOpen=${onOpen} />`)}
      </div>
    </div>`
}

function Row({ index, row, now, active, onActive, onToggle, onOpen }) {
  const { node, level, open } = row
  const place = { transform: `translateY(${index * ROW}px)` }
  if (row.more) {
    return html`<div class="grid-row grid-more" role="row" id="actor-${index}" aria-rowindex=${index + 2} aria-level=${level} style=${place}>
      <span role="gridcell" class="col-name" style=${{ '--level': level }}>${t('actors.more', { n: row.more })}</span></div>`
  }
  const toggle = (event) => {
    event.stopPropagation()
    onActive(node.path)
    onToggle(row)
  }
  const expanded = open === null ? undefined : String(open)
  return html`
    <div class="grid-row" role="row" id="actor-${index}" data-active=${active} data-dim=${row.dim} data-state=${node.state} style=${place}
      aria-rowindex=${index + 2} aria-level=${level} aria-posinset=${row.position} aria-setsize=${row.size} aria-expanded=${expanded}
      aria-selected=${active ? 'true' : 'false'} onClick=${() => onActive(node.path)} onDblClick=${() => onOpen(node.path)}>
      <span role="gridcell" class="col-name" style=${{ '--level': level }} title=${node.path}>
        ${open === null ? html`<i class="twist"></i>` : html`<i class="twist" data-open=${open} onClick=${toggle}><${Icon} name="chevron-right" /></i>`}
        <i class="glyph" data-state=${glyph(node)}></i><span class="actor-name">${label(node)}</span>
        ${node.redacted && html`<${Icon} name="lock" />`}
        ${node.children_total > 0 && html`<span class="count">${number(node.children_total)}</span>`}
      </span>
      <span role="gridcell" class="col-class">${node.class ?? ''}</span>
      <span role="gridcell" class="col-state">${t(`actors.state.${node.state}`)}</span>
      <span role="gridcell" class="col-mailbox"><${Mailbox} node=${node} /></span>
      <span role="gridcell" class="col-in_hand">${node.in_hand && html`<span class="muted">${duration(node.in_hand.age_ms)}</span> <span class="message-type">${node.in_hand.type}</span>`}</span>
      <span role="gridcell" class="col-restarts" data-some=${node.restarts_window > 0}>${restarts(node)}</span>
      <span role="gridcell" class="col-uptime">${node.started_at && node.state === 'running' ? duration(Math.max(0, now - new Date(node.started_at))) : ''}</span>
      <span role="gridcell" class="col-crash" title=${node.last_error ? `${fullTime(node.last_error.at)} · ${node.last_error.message}` : ''}>
        ${node.last_error && html`<span class="error-type">${node.last_error.type}</span> <span class="muted">${ago(node.last_error.at, now)}</span>`}
      </span>
    </div>`
}

const glyph = (node) => (node.state === 'running' && node.in_hand?.age_ms > 5000 ? 'busy' : node.state)

const restarts = ({ restarts_total: total, restarts_window: recent }) =>
  recent > 0 ? t('actors.restarts', { total, recent }) : total ? number(total) : ''

function Mailbox({ node }) {
  const { depth, capacity, high_water: high } = node.mailbox ?? {}
  if (depth == null) return null
  const full = fullness(node)
  const level = full >= 1 ? 'over' : full >= 0.8 ? 'high' : 'calm'
  return html`<span class="mailbox" data-level=${level} title=${t('actors.mailbox', { depth, capacity: capacity ?? '∞', high: high ?? 0 })}>
    <svg class="meter" viewBox="0 0 40 4" preserveAspectRatio="none" aria-hidden="true"><rect width="40" height="4" /><rect class="level" width=${40 * Math.min(1, full)} height="4" /></svg>
    <span>${number(depth)}${capacity != null && html`<span class="muted">/${number(capacity)}</span>`}</span></span>`
}
