// The transcript on the screen: one component per kind of entry, so a streamed word repaints one paragraph.
import { useSignal, useSignalEffect } from '@preact/signals'
import { useLayoutEffect, useRef } from 'preact/hooks'
import { Card } from '../approvals/card.mjs'
import { pending } from '../approvals/pending.mjs'
import { clock, compact, duration, fullTime } from '../core/format.mjs'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Markdown } from '../ui/markdown.mjs'
import { Empty, Icon, reasonOf, say } from '../ui/parts.mjs'
import { Files } from './files.mjs'

const NEAR = 80 // px from the end that still count as "at the end"
const SENTENCE = /[.!?。！？\n](?=\s|$)/g

export function Entries({ conversation, agent }) {
  const transcript = conversation.transcript.value
  const rows = transcript.entries.value
  const box = useRef()
  const atEnd = useSignal(true)
  const follow = () => {
    if (atEnd.value) box.current.scrollTop = box.current.scrollHeight
  }
  useLayoutEffect(() => {
    const watch = new ResizeObserver(follow)
    watch.observe(box.current.firstElementChild)
    watch.observe(box.current)
    return () => watch.disconnect()
  }, [])
  useLayoutEffect(() => {
    if (rows.at(-1)?.kind === 'user') toEnd()
  }, [rows.length])
  const lastTop = useRef(0)
  const onScroll = () => {
    const { scrollTop, scrollHeight, clientHeight } = box.current
    if (scrollHeight - scrollTop - clientHeight < NEAR) atEnd.value = true
    else if (scrollTop < lastTop.current) atEnd.value = false // the reader went up; growing text alone is no reason
    lastTop.current = scrollTop
  }
  const toEnd = () => {
    atEnd.value = true
    follow()
  }
  const older = async () => {
    const before = box.current.scrollHeight - box.current.scrollTop
    await conversation.older().catch(() => {})
    requestAnimationFrame(() => (box.current.scrollTop = box.current.scrollHeight - before))
  }
  return html`
    <div class="transcript" ref=${box} onScroll=${onScroll} tabindex="0" role="log" aria-live="off" aria-label=${t('chat.transcript')}>
      <div class="entries">
        ${transcript.hasMore.value && html`<button type="button" class="quiet older" onClick=${older}>${t('chat.older')}</button>`}
        ${rows.length === 0 && html`<${Empty} title=${t('chat.empty', { agent: agent?.name || agent?.id || 'GoClaw' })} hint=${t('chat.empty.hint')} />`}
        ${rows.map((row) => html`<${KINDS[row.kind]} key=${row.id} row=${row} conversation=${conversation} />`)}
        ${pending.value.filter(({ sessionKey }) => sessionKey === conversation.key).map((one) => html`<${Card} key=${one.id} one=${one} />`)}
      </div>
    </div>
    ${!atEnd.value && html`<div class="to-end"><button type="button" onClick=${toEnd}><${Icon} name="arrow-down" />${t('chat.latest')}</button></div>`}`
}

const User = ({ row }) => html`
  <article class="entry user" aria-label=${t('chat.you')}>
    <div class="said">${row.text}</div>${row.at && html`<time title=${fullTime(row.at)}>${clock(row.at)}</time>`}
  </article>`

function Assistant({ row }) {
  const state = row.state.value
  useSpoken(row)
  return html`
    <article class="entry assistant" data-state=${state} aria-label=${t('chat.answer')} aria-busy=${state === 'streaming'}>
      ${row.thinking.value && html`<details class="thinking"><summary><${Icon} name="chevron-right" />${t('chat.thinking')}</summary><p>${row.thinking}</p></details>`}
      <${Markdown} text=${row.text.value} />
      <${Files} files=${row.files.value} />
      ${state === 'cancelled' && html`<p class="mark">[${t('chat.stopped')}]</p>`}
      <${Usage} usage=${row.usage.value} />
    </article>`
}

// Screen readers hear whole sentences, not tokens.
function useSpoken(row) {
  const heard = useRef(row.state.peek() === 'done' ? Infinity : 0)
  useSignalEffect(() => {
    const text = row.text.value
    const end = row.state.value === 'streaming' ? ([...text.matchAll(SENTENCE)].at(-1)?.index ?? -1) + 1 : text.length
    if (end <= heard.current) return
    say(text.slice(heard.current, end))
    heard.current = end
  })
}

function Usage({ usage }) {
  if (!usage) return null
  const { inputTokens, outputTokens, durationMs, offline } = usage
  const parts = [
    inputTokens != null && t('usage.in', { count: compact(inputTokens) }),
    outputTokens != null && t('usage.out', { count: compact(outputTokens) }),
    durationMs != null && duration(durationMs),
    offline && t('usage.offline'),
  ]
  return html`<p class="usage">${parts.filter(Boolean).join(' · ')}</p>`
}

function Tool({ row }) {
  const result = row.result.value
  const state = result ? (result.isError ? 'failed' : 'done') : 'running'
  return html`
    <details class="entry tool" data-state=${state}>
      <summary>
        <${Icon} name="chevron-right" /><i class="dot"></i><b>${row.name}</b><code class="brief">${brief(row.args)}</code>
        <span class="muted">${t(`tool.${state}`)}${result?.ms != null ? ` · ${duration(result.ms)}` : ''}</span>
      </summary>
      <h3>${t('tool.arguments')}</h3><pre tabindex="0">${JSON.stringify(row.args, null, 2)}</pre>
      ${result && html`<h3>${t('tool.result')}</h3><pre tabindex="0">${result.text}</pre>`}
    </details>`
}

const brief = (args) => Object.values(args).map((v) => (typeof v === 'string' ? v : JSON.stringify(v))).join(' ').slice(0, 120)

function Failure({ row, conversation }) {
  const { error, prompt } = row
  return html`
    <div class="entry failure" role="alert">
      <${Icon} name="circle-alert" />
      <div><p class="failure-title">${t('chat.failed')} <code>${error.code}</code></p><p>${reasonOf(error)}</p></div>
      ${prompt && html`<button type="button" disabled=${gateway.state.value !== 'live'} onClick=${() => conversation.send(prompt)}>
        <${Icon} name="rotate-cw" />${t('retry')}</button>`}
    </div>`
}

const Note = ({ row }) => html`<p class="entry note">${t(row.key)}</p>`

const KINDS = { user: User, assistant: Assistant, tool: Tool, failure: Failure, note: Note }
