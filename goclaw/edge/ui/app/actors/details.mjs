// Everything the tree says about one actor, beside the grid.
import { duration, fullTime } from '../core/format.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { copyText } from '../core/ids.mjs'
import { IconButton } from '../ui/parts.mjs'
import { label } from './tree.mjs'

export function Details({ node, onClose }) {
  const { mailbox = {}, counters = {}, latency_us: latency, last_error: crash } = node
  const wait = latency?.wait && `${us(latency.wait.p50)} / ${us(latency.wait.p95)}`
  const handle = latency?.handle && `${us(latency.handle.p50)} / ${us(latency.handle.p95)}`
  const facts = [
    ['class', node.class], ['kind', node.kind], ['state', t(`actors.state.${node.state}`)], ['strategy', node.strategy],
    ['restart', node.restart], ['incarnation', node.incarnation], ['restarts', node.restarts_total],
    ['started', node.started_at && fullTime(node.started_at)], ['depth', mailbox.depth], ['capacity', mailbox.capacity],
    ['high_water', mailbox.high_water], ['dropped', mailbox.dropped], ['expired', mailbox.expired], ['handled', counters.handled],
    ['failed', counters.failed], ['wait', wait], ['handle', handle], ['children', node.children_total],
  ].filter(([, value]) => value != null && value !== '')
  return html`
    <aside class="details" aria-label=${t('actors.details')}>
      <header><h2>${label(node)}</h2>
        <${IconButton} icon="copy" label=${t('actors.copy')} onClick=${() => copyText(node.path)} />
        <${IconButton} icon="x" label=${t('close')} onClick=${onClose} /></header>
      <p class="mono path">${node.path}</p>
      <dl>${facts.map(([name, value]) => html`<div key=${name}><dt>${t(`actors.fact.${name}`)}</dt><dd>${typeof value === 'number' ? number(value) : value}</dd></div>`)}</dl>
      ${crash && html`<section><h3>${t('actors.col.crash')}</h3><p class="error-type">${crash.type}</p><p class="mono">${crash.message}</p>
        <p class="muted">${fullTime(crash.at)}</p>${crash.traceback && html`<pre tabindex="0">${crash.traceback}</pre>`}</section>`}
    </aside>`
}

const us = (value) => (value < 1000 ? `${number(value)} µs` : duration(value / 1000))
