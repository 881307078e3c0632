// The tree as an ARIA treegrid: one tab stop, arrow keys, and only the rows in view in the document.
// Contract: dashboard.md §7.2, §7.3, §7.7.
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { useWindow } from '../ui/window.mjs'
import { Icon } from '../ui/parts.mjs'
import { CELLS, columnsFor, leastOf, look, NameCell } from './columns.mjs'
import { pulsing } from './tree.mjs'

const ROW = 30 // px
const DENSE = 24

// `on` holds what rows can ask for: active(key), toggle(row), siblings(row), open(row), mark(row), sort(column), key(key, row) → taken?
export function Grid({ rows, now, active, marked, narrow, brief, sort = '', onSight, on }) {
  const size = look.value.dense && !narrow ? DENSE : ROW
  const { box, onScroll, first, last, page, reveal } = useWindow(rows.length, size)
  const columns = columnsFor(narrow, brief)
  const at = Math.max(0, rows.findIndex((row) => row.key === active))
  const shown = [...Array(Math.max(0, last - first)).keys()].map((i) => i + first)
  onSight(shown.map((index) => rows[index]))
  if (rows.length && (at < first || at >= last)) shown.push(at) // the active row stays in the document

  const move = (index) => {
    const to = Math.min(rows.length - 1, Math.max(0, index))
    on.active(rows[to].key)
    reveal(to)
  }
  const onKeyDown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || rows.length === 0) return
    const row = rows[at]
    const keys = {
      ArrowDown: () => move(at + 1),
      ArrowUp: () => move(at - 1),
      ArrowRight: () => (row.open === false ? on.toggle(row) : row.open && move(at + 1)),
      ArrowLeft: () => (row.open ? on.toggle(row) : move(above(rows, at))),
      Home: () => move(0),
      End: () => move(rows.length - 1),
      PageDown: () => move(at + page),
      PageUp: () => move(at - page),
      Enter: () => on.open(row),
      ' ': () => on.mark(row),
      '*': () => on.siblings(row),
    }
    const act = keys[event.key]
    if (act) act()
    else if (!on.key(event.key, row)) return
    event.preventDefault()
  }
  const direction = (name) => (sort.replace('-', '') !== name ? undefined : sort.startsWith('-') ? 'descending' : 'ascending')
  return html`
    <div class="grid" ref=${box} role="treegrid" tabindex="0" aria-label=${t('page.actors')} aria-rowcount=${rows.length + 1} aria-multiselectable="true"
      aria-colcount=${Object.keys(columns).length} aria-activedescendant=${rows.length ? `actor-${at}` : undefined} data-narrow=${narrow} data-brief=${brief}
      style=${{ '--columns': Object.values(columns).join(' '), '--row': `${size}px`, '--least': narrow || brief ? 0 : `${leastOf(columns)}px` }} onScroll=${onScroll} onKeyDown=${onKeyDown}>
      <div class="grid-row grid-head" role="row" aria-rowindex="1">
        ${Object.keys(columns).map((name) => html`<span key=${name} role="columnheader" class="col-${name}" aria-sort=${direction(name)}
          onClick=${() => on.sort(name)} title=${t('actors.sort')}>${t(`actors.col.${name}`)}${direction(name) && html`<${Icon} name="arrow-down" />`}</span>`)}
      </div>
      <div class="grid-rows" role="rowgroup" style=${{ height: `${rows.length * size}px` }}>
        ${shown.map((index) => {
          const props = { key: rows[index].key, index, row: rows[index], now, active: index === at, columns, place: { transform: `translateY(${index * size}px)` }, on }
          return rows[index].note ? html`<${Note} ...${props} />` : html`<${Row} ...${props} marked=${marked.has(rows[index].key)} />`
        })}
      </div>
    </div>`
}

const above = (rows, index) => {
  for (let i = index - 1; i >= 0; i--) if (rows[i].level < rows[index].level) return i
  return index
}

function Row({ index, row, now, active, marked, columns, place, on }) {
  const { node, level, open } = row
  const toggle = (event) => {
    event.stopPropagation()
    on.active(row.key)
    on.toggle(row)
  }
  return html`
    <div class="grid-row" role="row" id="actor-${index}" data-active=${active} data-marked=${marked} data-dim=${row.dim} data-pulse=${!!pulsing(node, now)} data-state=${node.state} style=${place}
      aria-rowindex=${index + 2} aria-level=${level} aria-posinset=${row.position} aria-setsize=${row.size} aria-expanded=${open === null ? undefined : String(open)}
      aria-selected=${marked ? 'true' : 'false'} onClick=${(event) => (event.detail > 1 ? on.open(row) : on.touch(row))}>
      <span role="gridcell" class="col-name" style=${{ '--level': level }} title=${node.path}>
        ${open === null ? html`<i class="twist"></i>` : html`<i class="twist" data-open=${open} onClick=${toggle}><${Icon} name="chevron-right" /></i>`}
        <${NameCell} node=${node} now=${now} />
      </span>
      ${Object.keys(columns).slice(1).map((name) => html`<span key=${name} role="gridcell" class="col-${name}">${CELLS[name](node, now)}</span>`)}
    </div>`
}

// Stands for the children a crowd does not list: how many in which state and of which class, and the way to the others.
function Note({ index, row, active, place, on }) {
  const { node, level, note } = row
  const list = (counts) => Object.entries(counts).filter(([, n]) => n > 0)
  return html`
    <div class="grid-row grid-note" role="row" id="actor-${index}" data-active=${active} aria-rowindex=${index + 2} aria-level=${level} style=${place} onClick=${() => on.open(row)}>
      <span role="gridcell" class="col-note" style=${{ '--level': level }}>
        ${note === 'loading' ? html`<span class="muted">${t('loading')}</span>` : html`
          <${Icon} name="search" /><b>${t('actors.crowd', { n: node.children_total })}</b>
          ${node.counts && list(node.counts.state).map(([state, n]) => html`<span key=${state} class="tally"><i class="glyph" data-state=${state}></i>${number(n)} ${t(`actors.state.${state}`)}</span>`)}
          ${node.counts && list(node.counts.class).map(([name, n]) => html`<span key=${name} class="tally">${number(n)} ${name}</span>`)}`}
      </span>
    </div>`
}
