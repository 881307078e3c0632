// The tree as a picture: tidy, left to right, with zoom and pan; the grid says the same in words (dashboard.md §7.2).
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { IconButton } from '../ui/parts.mjs'
import { shape } from './states.mjs'
import { label, pulsing } from './tree.mjs'

const MOST = 1555 // nodes
const WIDE = 190 // px between levels
const HIGH = 22 // px between leaves
const LETTERS = 22

// Places of the open part of the tree: [{node, x, y, open, from}] and the size of it all. A parent stands in the middle
// of its children, a leaf below the one before.
export function layout(rows) {
  const shown = rows.filter((row) => !row.note).slice(0, MOST)
  const places = []
  const path = [] // the places above the current row, by level
  let leaf = 0
  shown.forEach((row, i) => {
    const place = { row, x: (row.level - 1) * WIDE, y: 0, from: path[row.level - 2], low: leaf * HIGH, high: leaf * HIGH }
    path.length = row.level - 1
    path.push(place)
    places.push(place)
    if ((shown[i + 1]?.level ?? 0) <= row.level) {
      for (const above of path) above.high = leaf * HIGH
      leaf++
    }
  })
  for (const place of places) place.y = (place.low + place.high) / 2
  return { places, width: (Math.max(0, ...places.map(({ x }) => x)) || 0) + WIDE + 40, height: leaf * HIGH, cut: rows.length > MOST }
}

export function Map({ rows, now, active, on }) {
  const box = useRef()
  const [view, setView] = useState(null) // {x, y, scale}: the picture's point in the corner, and its zoom
  const [size, setSize] = useState({ width: 800, height: 500 })
  const drag = useRef(null)
  const { places, width, height, cut } = layout(rows)
  const fit = () => {
    const scale = Math.min(1, size.width / (width + 40), Math.max(0.35, size.height / (height + 40)))
    setView({ scale, x: -20, y: height * scale > size.height ? -20 : -(size.height / scale - height) / 2 })
  }
  useLayoutEffect(() => {
    const watch = new ResizeObserver(() => setSize({ width: box.current.clientWidth, height: box.current.clientHeight }))
    watch.observe(box.current)
    return () => watch.disconnect()
  }, [])
  useEffect(fit, [size.width, size.height, places.length > 0])
  const { x, y, scale } = view ?? { x: -20, y: -20, scale: 1 }
  const zoom = (factor, atX = size.width / 2, atY = size.height / 2) => {
    const next = Math.min(2.5, Math.max(0.15, scale * factor))
    setView({ scale: next, x: x + atX / scale - atX / next, y: y + atY / scale - atY / next })
  }
  const onWheel = (event) => {
    event.preventDefault()
    const frame = box.current.getBoundingClientRect()
    zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.clientX - frame.left, event.clientY - frame.top)
  }
  useEffect(() => {
    const here = box.current
    here.addEventListener('wheel', onWheel, { passive: false })
    return () => here.removeEventListener('wheel', onWheel)
  })
  const onDown = (event) => (drag.current = { x: event.clientX, y: event.clientY, from: { x, y } })
  const onMove = (event) => {
    if (!drag.current || !event.buttons) return
    setView({ scale, x: drag.current.from.x - (event.clientX - drag.current.x) / scale, y: drag.current.from.y - (event.clientY - drag.current.y) / scale })
  }
  const inSight = (place) => place.x > x - WIDE && place.x < x + size.width / scale + 20 && place.y > y - HIGH && place.y < y + size.height / scale + HIGH
  const seen = places.filter(inSight)
  const lines = places.filter((place) => place.from && (inSight(place) || inSight(place.from)))
  return html`
    <div class="map" ref=${box} onPointerDown=${onDown} onPointerMove=${onMove} onPointerUp=${() => (drag.current = null)}>
      <svg aria-hidden="true" width=${size.width} height=${size.height} viewBox="${x} ${y} ${size.width / scale} ${size.height / scale}">
        ${lines.map(({ row, x: to, y: at, from }) => html`<path key=${`-${row.key}`} class="branch" d="M${from.x + WIDE - 46} ${from.y}C${from.x + WIDE - 20} ${from.y} ${to - 26} ${at} ${to - 8} ${at}" />`)}
        ${seen.map(({ row, x: left, y: top }) => html`
          <g key=${row.key} class="spot" data-state=${shape(row.node)} data-active=${row.key === active} data-dim=${row.dim} data-pulse=${!!pulsing(row.node, now)} transform="translate(${left} ${top})"
            onClick=${() => (row.open === null || row.key === active ? on.open(row) : on.active(row.key))} onDblClick=${() => row.open !== null && on.toggle(row)}>
            <rect class="hit" x="-9" y="-10" width=${WIDE - 40} height="20" /><${Shape} state=${shape(row.node)} />
            <text x="12" y="4">${short(label(row.node))}${row.open === false ? ` +${number(row.node.children_total)}` : ''}<title>${row.node.path}</title></text></g>`)}
      </svg>
      <div class="map-tools" role="group" aria-label=${t('actors.map.zoom')}>
        <${IconButton} icon="zoom-in" label=${t('actors.map.in')} onClick=${() => zoom(1.3)} /><${IconButton} icon="zoom-out" label=${t('actors.map.out')} onClick=${() => zoom(1 / 1.3)} />
        <${IconButton} icon="maximize" label=${t('actors.map.fit')} onClick=${fit} /></div>
      <p class="map-note muted">${cut ? t('actors.map.cut', { n: MOST }) : t('actors.map.hint')}</p>
    </div>`
}

const short = (text) => (text.length > LETTERS ? `${text.slice(0, LETTERS - 1)}…` : text)

// State by colour and by shape.
function Shape({ state }) {
  if (state === 'backoff') return html`<path class="mark" d="M0 -6L6 5H-6Z" />`
  if (state === 'quarantined') return html`<rect class="mark" x="-5" y="-5" width="10" height="10" />`
  return html`<circle class="mark" r="5" />`
}
