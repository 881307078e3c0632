// One command that waits: what it is, who wants it, how long it still may be answered, and the answers.
import { useEffect, useState } from 'preact/hooks'
import { duration } from '../core/format.mjs'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { href } from '../core/router.mjs'
import { Dialog } from '../ui/dialog.mjs'
import { Icon, reasonOf, say } from '../ui/parts.mjs'

const TOLD = [60, 30, 10] // seconds before the end at which those who listen are told (dashboard.md §13)

// `elsewhere`: the card does not stand in the conversation it belongs to. `wish` is an answer a key was pressed for.
export function Card({ one, elsewhere, wish, onWish }) {
  const [asking, setAsking] = useState('') // once · always · deny
  const [trouble, setTrouble] = useState('')
  const answer = async (method, params) => {
    try {
      await gateway.call(`exec.approval.${method}`, { id: one.id, ...params })
      setAsking('')
    } catch (refusal) {
      setTrouble(reasonOf(refusal))
    }
  }
  useEffect(() => {
    if (!wish) return
    setAsking(wish)
    onWish()
  }, [wish])
  const close = () => setAsking('')
  const { cwd, groups = [] } = one.detail
  return html`
    <article class="approval" tabindex="-1" data-id=${one.id} aria-label=${t('approvals.card', { agent: one.agentId, tool: one.toolName })}>
      <header><${Icon} name="shield-check" /><p>${t('approvals.card', { agent: one.agentId, tool: one.toolName })}</p><${Left} until=${one.expiresAt} /></header>
      <pre tabindex="0">${one.command}</pre>
      <p class="muted facts">${[t('approvals.asked', { user: one.userId }), cwd && cwd !== '.' && t('approvals.in', { cwd }), groups.length > 0 && t('approvals.risk', { groups: groups.join(', ') })].filter(Boolean).join(' · ')}
        ${elsewhere && html`<a href=${href('chat', { session: one.sessionKey })}>${t('approvals.conversation')}</a>`}</p>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      ${may('operator') && html`<div class="answers">
        <button type="button" class="primary" aria-keyshortcuts=${elsewhere && 'a'} onClick=${() => answer('approve', {})}>${t('approvals.once')}</button>
        <button type="button" onClick=${() => setAsking('always')}>${t('approvals.always')}</button>
        <button type="button" aria-keyshortcuts=${elsewhere && 'd'} onClick=${() => setAsking('deny')}>${t('approvals.deny')}</button></div>`}
      ${asking === 'once' && html`<${Dialog} title=${t('approvals.once.ask')} yes=${t('approvals.once')} danger onSubmit=${() => answer('approve', {})} onClose=${close}><pre tabindex="0">${one.command}</pre><//>`}
      ${asking === 'always' && html`<${Always} one=${one} onClose=${close} onYes=${(persist) => answer('approve', { always: true, persist })} />`}
      ${asking === 'deny' && html`<${Deny} one=${one} onClose=${close} onYes=${(reason) => answer('deny', { reason })} />`}
    </article>`
}

function Always({ one, onYes, onClose }) {
  const [kept, setKept] = useState(false)
  const { rule } = one.detail
  return html`
    <${Dialog} title=${t('approvals.always.ask')} yes=${t('approvals.always')} danger onSubmit=${() => onYes(kept)} onClose=${onClose}>
      <p>${rule ? t('approvals.rule.program', { agent: one.agentId }) : t('approvals.rule.exact', { agent: one.agentId })}</p>
      <pre>${rule || one.command}</pre>
      ${may('admin') && html`<div class="checks"><label class="check"><input type="checkbox" checked=${kept} onChange=${(event) => setKept(event.target.checked)} />${t('approvals.keep')}</label></div>`}
    <//>`
}

function Deny({ one, onYes, onClose }) {
  const [reason, setReason] = useState('')
  return html`
    <${Dialog} title=${t('approvals.deny.ask')} yes=${t('approvals.deny')} onSubmit=${() => onYes(reason.trim() || null)} onClose=${onClose}>
      <pre>${one.command}</pre>
      <label class="field">${t('approvals.reason')}<input maxlength="2000" value=${reason} onInput=${(event) => setReason(event.target.value)} /></label>
    <//>`
}

function Left({ until }) {
  const [now, setNow] = useState(Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000)
    return () => clearInterval(timer)
  }, [])
  const left = Math.max(0, Math.ceil((until - now) / 1000) * 1000)
  useEffect(() => {
    if (TOLD.includes(left / 1000)) say(t('approvals.left.say', { seconds: left / 1000 }))
  }, [left])
  return html`<span class="left" data-soon=${String(left <= 15_000)} title=${t('approvals.left')}><${Icon} name="hourglass" />${duration(left)}</span>`
}
