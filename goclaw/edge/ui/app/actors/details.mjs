// One actor beside the view: what it is, how it does, what befell it, and what can be done to it (dashboard.md §7.5).
import { useEffect, useState } from 'preact/hooks'
import { duration, fullTime } from '../core/format.mjs'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { copyText } from '../core/ids.mjs'
import { href, refine, route } from '../core/router.mjs'
import { Meter } from '../ui/chart.mjs'
import { Icon, IconButton } from '../ui/parts.mjs'
import { Tabs } from '../ui/tabs.mjs'
import { refusal } from './actions.mjs'
import { Children } from './children.mjs'
import { CrashTable } from './crashes.mjs'
import { LatencyTab, MailboxTab } from './measures.mjs'
import { budgetOf, Glyph, Redacted, stateText, Zombie } from './states.mjs'
import { Tap } from './tap.mjs'
import { label, parentOf } from './tree.mjs'

const EVERY = 5000 // ms between whole reads of the shown actor
const TABS = ['overview', 'mailbox', 'latency', 'crashes', 'children', 'tap']

export function Details({ path, tree, now, tab, live, onAct, onClose }) {
  const [ended, setEnded] = useState(null) // the refusal that says so
  const node = tree.known.get(path)
  useEffect(() => {
    setEnded(null)
    let wanted = true
    const read = async () => {
      if (document.hidden) return
      try {
        const found = await gateway.call('actors.get', { path, depth: 1 })
        if (!wanted) return
        setEnded(null)
        tree.add([found])
      } catch (error) {
        if (wanted && (error.code === 'NOT_FOUND' || error.code === 'GONE')) setEnded(error)
      }
    }
    if (live) read()
    const timer = setInterval(() => live && read(), EVERY)
    return () => {
      wanted = false
      clearInterval(timer)
    }
  }, [path, node?.incarnation, live])
  const shown = ended ? { path, ended: true } : (node ?? { path })
  const tabs = (ended ? ['crashes'] : TABS).map((name) => [name, t(`actors.tab.${name}`)])
  const chosen = tabs.some(([name]) => name === tab) ? tab : tabs[0][0]
  return html`
    <aside class="details" aria-label=${t('actors.details')} onKeyDown=${(event) => event.key === 'Escape' && onClose()}>
      <header><h2>${label(shown)}</h2><${Redacted} node=${shown} />
        <${IconButton} icon="copy" label=${t('actors.copy')} onClick=${() => copyText(path)} />
        <${IconButton} icon="x" label=${t('close')} onClick=${onClose} /></header>
      <p class="mono path">${path}</p>
      ${ended
        ? html`<p class="ended">${t('actors.ended', { incarnation: ended.details?.last_incarnation ?? node?.incarnation ?? '?' })}</p>`
        : node && html`<p class="state-line" data-state=${node.state}><${Glyph} node=${node} now=${now} /> ${stateText(node, now)} <${Zombie} node=${node} />
            ${node.state === 'quarantined' && html`<span class="muted">${node.reason ?? ''} ${t('actors.quarantined.clear')}</span>`}</p>
          <${Buttons} node=${node} onAct=${onAct} />`}
      <${Tabs} tabs=${tabs} chosen=${chosen} label=${t('actors.details')} onChoose=${(name) => refine({ tab: name })}>
        ${(node || ended) && panel(chosen, shown, tree, now)}
      <//>
    </aside>`
}

const panel = (tab, node, tree, now) => ({
  overview: () => html`<${Overview} node=${node} now=${now} />`,
  mailbox: () => html`<${MailboxTab} node=${node} now=${now} />`,
  latency: () => html`<${LatencyTab} node=${node} />`,
  crashes: () => html`<${CrashTable} key=${node.path} path=${node.path} small />`,
  children: () => html`<${Children} key=${node.path} node=${node} tree=${tree} />`,
  tap: () => html`<${Tap} key=${node.path} node=${node} />`,
})[tab]()

// Buttons that cannot be used stay, with the reason.
function Buttons({ node, onAct }) {
  const paused = node.state === 'suspended'
  const names = ['probe', 'restart', 'kill', paused ? 'resume' : 'suspend', 'stop']
  const reasons = names.map((name) => refusal(node, name))
  const reason = reasons.find(Boolean)
  return html`
    <div class="act" role="group" aria-label=${t('actors.actions')}>
      ${names.map((name, i) => html`<button type="button" key=${name} disabled=${!!reasons[i]} title=${reasons[i] ? t(reasons[i]) : undefined}
        aria-describedby=${reasons[i] ? 'refused' : undefined} onClick=${() => onAct(name, node)}>${t(`actors.action.${name}`)}</button>`)}
    </div>
    ${reason && html`<p class="muted refused" id="refused"><${Icon} name="lock" /> ${t(reason)}</p>`}`
}

function Overview({ node, now }) {
  const { max, window } = budgetOf(node)
  const supervisor = parentOf(node.path)
  const uptime = node.state === 'running' && node.started_at ? duration(Math.max(0, now - new Date(node.started_at))) : null
  const { counters = {}, lease, blocking } = node
  const facts = [
    ['class', node.class], ['kind', node.kind], ['incarnation', node.incarnation], ['strategy', node.strategy], ['restart', node.restart],
    ['shutdown', typeof node.shutdown === 'number' ? `${node.shutdown} s` : node.shutdown], ['started', node.started_at && fullTime(node.started_at)], ['uptime', uptime],
    ['restarts', node.restarts_total], ['handled', counters.handled], ['failed', counters.failed], ['asks_out', counters.asks_out],
    ['children', node.children_total], ['lease', lease && `${lease.key} #${lease.fence}, ${duration(lease.expires_in_ms)}`],
    ['thread', blocking?.thread], ['memory', node.bytes != null ? `${number(Math.max(1, Math.round(node.bytes / 1024)))} KB` : null], ['node', node.node_id],
  ].filter(([, value]) => value != null && value !== '')
  const crash = node.last_error
  return html`
    <dl>
      ${supervisor && html`<div><dt>${t('actors.fact.supervisor')}</dt><dd><a href=${href('actors', { ...route.value.query, sel: supervisor, tab: 'overview' })}>${supervisor}</a></dd></div>`}
      ${facts.map(([name, value]) => html`<div key=${name}><dt>${t(`actors.fact.${name}`)}</dt><dd>${typeof value === 'number' ? number(value) : value}</dd></div>`)}
      <div><dt>${t('actors.fact.budget')}</dt><dd class="budget" data-some=${node.restarts_window > 0}>
        ${max && html`<${Meter} value=${node.restarts_window ?? 0} most=${max} level=${node.restarts_window >= max ? 'over' : 'high'} /> `}
        ${max ? t('actors.budget', { used: node.restarts_window ?? 0, max, window }) : number(node.restarts_window ?? 0)}</dd></div>
    </dl>
    ${crash && html`<section><h3>${t('actors.col.crash')}</h3><p class="error-type">${crash.type}</p><p class="mono">${crash.message}</p>
      <p class="muted">${fullTime(crash.at)}</p>${crash.traceback && html`<pre tabindex="0">${crash.traceback}</pre>`}</section>`}
    ${node.snapshot && html`<section><h3>${t('actors.snapshot')}</h3><pre tabindex="0">${JSON.stringify(node.snapshot, null, 2)}</pre></section>`}`
}
