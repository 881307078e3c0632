// The agent's sessions on this channel, newest first; kept fresh by events.
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { ago } from '../core/format.mjs'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { href } from '../core/router.mjs'
import { Icon } from '../ui/parts.mjs'
import { newSession } from './conversation.mjs'

const SETTLE = 250 // ms to wait for more of the same before asking the gateway
const CHANGING = new Set(['run.queued', 'run.completed', 'run.failed', 'run.cancelled'])

export const nameOf = ({ key, label, metadata }) =>
  label || metadata?.chat_title || metadata?.display_name || t('session.unnamed', { id: key.split(':').at(-1).slice(0, 8) })

export function SessionList({ agents, agent, current, onAgent }) {
  const rows = useSignal([])
  const search = useSignal('')
  const live = gateway.state.value === 'live'
  useEffect(() => {
    if (!live || !agent) return undefined
    let timer = 0
    const read = async () => {
      const params = { agentId: agent.id, channel: 'ws', search: search.value, limit: 100 }
      const answer = await gateway.call('sessions.list', params).catch(() => null)
      if (answer) rows.value = answer.sessions.toSorted((a, b) => (a.updated < b.updated ? 1 : -1))
    }
    const soon = () => {
      clearTimeout(timer)
      timer = setTimeout(read, SETTLE)
    }
    const ends = [
      gateway.on('session.updated', soon),
      gateway.on('agent', ({ type }) => CHANGING.has(type) && soon()),
    ]
    timer = setTimeout(read, search.value ? SETTLE : 0)
    return () => {
      clearTimeout(timer)
      ends.forEach((end) => end())
    }
  }, [live, agent?.id, search.value])
  return html`
    <aside class="sessions-side" aria-label=${t('chat.sessions')}>
      <div class="side-tools">
        <label class="unseen" for="agent">${t('chat.agent')}</label>
        <select id="agent" onChange=${(event) => onAgent(event.target.value)}>
          ${agents.map(({ id, name }) => html`<option key=${id} value=${id} selected=${id === agent?.id}>${name || id}</option>`)}
        </select>
        <a class="button" href=${href('chat', { session: agent && newSession(agent.id) })}><${Icon} name="plus" />${t('chat.new')}</a>
      </div>
      <label class="search"><${Icon} name="search" /><span class="unseen">${t('search')}</span>
        <input type="search" placeholder=${t('search')} value=${search} onInput=${(event) => (search.value = event.target.value)} /></label>
      <ul class="session-list">
        ${rows.value.map((row) => html`
          <li key=${row.key}>
            <a href=${href('chat', { session: row.key })} aria-current=${row.key === current ? 'true' : undefined}>
              <span class="session-name">${nameOf(row)}</span>
              ${row.isRunning ? html`<i class="dot live" title=${t('session.running')}></i>` : html`<span class="muted">${ago(row.updated)}</span>`}
            </a>
          </li>`)}
      </ul>
      ${rows.value.length === 0 && html`<p class="muted side-note">${search.value ? t('sessions.nomatch') : t('chat.nosessions')}</p>`}
    </aside>`
}
