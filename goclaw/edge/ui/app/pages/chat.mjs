// The chat page: sessions on the left, one conversation on the right (dashboard.md §8).
import { signal, useSignal } from '@preact/signals'
import { useEffect, useMemo } from 'preact/hooks'
import { Composer } from '../chat/composer.mjs'
import { agentOf, Conversation, newSession, writable } from '../chat/conversation.mjs'
import { Entries } from '../chat/entries.mjs'
import { SessionList } from '../chat/session_list.mjs'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { go, refine, route } from '../core/router.mjs'
import { Empty, Icon, IconButton, Skeleton, Trouble } from '../ui/parts.mjs'

const agents = signal(null) // null until the gateway answered

export default function Chat() {
  const listOpen = useSignal(false)
  const key = route.value.query.session
  const live = gateway.state.value === 'live'
  useEffect(() => {
    if (live) gateway.call('agents.list').then((answer) => (agents.value = answer.agents), () => {})
  }, [live])
  const known = agents.value ?? []
  const agent = key ? (known.find(({ id }) => id === agentOf(key)) ?? { id: agentOf(key) }) : known[0]
  useEffect(() => {
    listOpen.value = false
    if (!key && agent) refine({ session: newSession(agent.id) })
  }, [key, agent?.id])
  const conversation = useMemo(() => key && new Conversation(gateway, key), [key])
  useEffect(() => conversation && (() => conversation.close()), [conversation])
  useEffect(() => {
    if (live) conversation?.open()
  }, [live, conversation])
  const pick = (id) => go('chat', { session: newSession(id) })
  return html`
    <div class="chat" data-list=${listOpen.value ? 'open' : 'closed'}>
      <${SessionList} agents=${known} agent=${agent} current=${key} onAgent=${pick} />
      <section class="conversation" aria-labelledby="page-title">
        <header class="conversation-bar">
          <${IconButton} icon="panel-left" label=${t('chat.sessions')} aria-expanded=${listOpen.value ? 'true' : 'false'}
            class="icon-button list-button" onClick=${() => (listOpen.value = !listOpen.value)} />
          <h1 id="page-title">${agent ? agent.name || agent.id : t('page.chat')}</h1>
          ${agent && html`<span class="muted model">${[agent.provider, agent.model].filter(Boolean).join(' · ')}</span>`}
        </header>
        ${agents.value?.length === 0 && html`<${Empty} title=${t('chat.noagents')} hint=${t('chat.noagents.hint')} />`}
        ${conversation && html`<${Body} key=${key} conversation=${conversation} agent=${agent} />`}
      </section>
    </div>`
}

function Body({ conversation, agent }) {
  const state = conversation.state.value
  if (state === 'failed') return html`<${Trouble} error=${conversation.error.value} retry=${() => conversation.open()} />`
  if (state === 'loading') return html`<${Skeleton} />`
  const mine = writable(conversation.key)
  return html`
    <${Entries} conversation=${conversation} agent=${agent} />
    ${mine
      ? html`<${Composer} conversation=${conversation} />`
      : html`<p class="banner"><${Icon} name="lock" /><span>${t('chat.foreign')}</span></p>`}`
}
