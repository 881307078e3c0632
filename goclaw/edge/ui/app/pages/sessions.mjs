// Every session the caller may see: search, page through, open in chat, change.
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { SessionDialog } from '../chat/session_actions.mjs'
import { nameOf } from '../chat/session_list.mjs'
import { compact } from '../core/format.mjs'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { href, refine, route } from '../core/router.mjs'
import { Ago, Empty, Icon, IconButton, Skeleton, Trouble } from '../ui/parts.mjs'

const PAGE = 20 // rows
const TYPING = 250 // ms

export default function Sessions() {
  const { q = '', from = '0' } = route.value.query
  const offset = Math.max(0, Number.parseInt(from, 10) || 0)
  const answer = useSignal(null)
  const error = useSignal(null)
  const turn = useSignal(0)
  const chosen = useSignal(null) // the row whose dialog is open
  const live = gateway.state.value === 'live'
  useEffect(() => {
    if (!live) return undefined
    let wanted = true
    const read = async () => {
      try {
        const found = await gateway.call('sessions.list', { search: q, limit: PAGE, offset })
        if (!wanted) return
        answer.value = found
        error.value = null
      } catch (refusal) {
        if (wanted && refusal.details.reason !== 'connection_lost') error.value = refusal
      }
    }
    const timer = setTimeout(read, answer.value ? TYPING : 0)
    return () => {
      wanted = false
      clearTimeout(timer)
    }
  }, [live, q, offset, turn.value])
  useEffect(() => gateway.on('session.updated', () => turn.value++), [])
  return html`
    <div class="page">
      <header class="page-bar">
        <h1>${t('page.sessions')}</h1>
        <label class="search"><${Icon} name="search" /><span class="unseen">${t('search')}</span>
          <input type="search" placeholder=${t('search')} value=${q} onInput=${(event) => refine({ q: event.target.value, from: '' })} /></label>
        <${IconButton} icon="rotate-cw" label=${t('refresh')} onClick=${() => turn.value++} />
      </header>
      ${error.value
        ? html`<${Trouble} error=${error.value} retry=${() => turn.value++} />`
        : answer.value
          ? html`<${Found} answer=${answer.value} filtered=${q !== ''} choose=${(row) => (chosen.value = row)} />`
          : html`<${Skeleton} />`}
      ${chosen.value && html`<${SessionDialog} row=${chosen.value} onClose=${() => (chosen.value = null)} />`}
    </div>`
}

function Found({ answer: { sessions, total, offset }, filtered, choose }) {
  if (total === 0) {
    return filtered
      ? html`<${Empty} title=${t('sessions.nomatch')}><button type="button" onClick=${() => refine({ q: '', from: '' })}>${t('filter.clear')}</button><//>`
      : html`<${Empty} title=${t('sessions.none')} hint=${t('sessions.none.hint')}><a class="button" href=${href('chat')}>${t('chat.new')}</a><//>`
  }
  const to = offset + sessions.length
  return html`
    <table class="table">
      <thead><tr>
        <th scope="col">${t('sessions.name')}</th><th scope="col">${t('sessions.agent')}</th><th scope="col">${t('sessions.channel')}</th>
        <th scope="col">${t('sessions.user')}</th><th scope="col" class="number">${t('sessions.messages')}</th>
        <th scope="col" class="number">${t('sessions.tokens')}</th><th scope="col">${t('sessions.updated')}</th>
        ${may('operator') && html`<th scope="col"><span class="unseen">${t('sessions.actions')}</span></th>`}
      </tr></thead>
      <tbody>${sessions.map((row) => html`<${Row} key=${row.key} row=${row} choose=${choose} />`)}</tbody>
    </table>
    <footer class="pager">
      <span>${t('pager.range', { from: offset + 1, to, total })}</span>
      <button type="button" disabled=${offset === 0} onClick=${() => refine({ from: String(Math.max(0, offset - PAGE)) })}>${t('pager.previous')}</button>
      <button type="button" disabled=${to >= total} onClick=${() => refine({ from: String(to) })}>${t('pager.next')}</button>
    </footer>`
}

const Row = ({ row, choose }) => html`
  <tr>
    <td><a href=${href('chat', { session: row.key })} title=${row.key}>${nameOf(row)}</a>
      ${row.isRunning && html`<i class="dot live" role="img" aria-label=${t('session.running')}></i>`}</td>
    <td>${row.agentName ?? row.key.split(':')[1]}</td>
    <td>${row.channel ?? row.key.split(':')[2]}</td>
    <td>${row.userID ?? ''}</td>
    <td class="number">${number(row.messageCount)}</td>
    <td class="number" title=${number((row.inputTokens ?? 0) + (row.outputTokens ?? 0))}>${compact((row.inputTokens ?? 0) + (row.outputTokens ?? 0))}</td>
    <td><${Ago} at=${row.updated} /></td>
    ${may('operator') && html`<td><${IconButton} icon="menu" label=${t('sessions.actions.of', { name: nameOf(row) })} onClick=${() => choose(row)} /></td>`}
  </tr>`
