// Tabs after the ARIA pattern: one tab stop, arrows move, the panel names its tab.
import { useEffect, useRef } from 'preact/hooks'
import { html } from '../core/html.mjs'

// `tabs` is [[name, text]]; `onChoose(name)`.
export function Tabs({ tabs, chosen, label, onChoose, children }) {
  const at = tabs.findIndex(([name]) => name === chosen)
  const row = useRef()
  useEffect(() => row.current.children[at]?.scrollIntoView({ block: 'nearest', inline: 'nearest' }), [at])
  const onKeyDown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    const to = step ? (at + step + tabs.length) % tabs.length : { Home: 0, End: tabs.length - 1 }[event.key]
    if (to === undefined) return
    event.preventDefault()
    event.stopPropagation()
    onChoose(tabs[to][0])
    event.currentTarget.children[to].focus()
  }
  return html`
    <div class="tabs" ref=${row} role="tablist" aria-label=${label} onKeyDown=${onKeyDown}>
      ${tabs.map(([name, text], i) => html`<button type="button" key=${name} role="tab" id="tab-${name}" aria-selected=${String(i === at)} aria-controls="tab-panel"
        tabindex=${i === at ? 0 : -1} onClick=${() => onChoose(name)}>${text}</button>`)}
    </div>
    <div class="tab-panel" role="tabpanel" id="tab-panel" aria-labelledby="tab-${chosen}" tabindex="0">${children}</div>`
}
