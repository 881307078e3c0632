// Commands that wait for a yes, what was decided, the rules, and the emergency stop (dashboard.md §6.2, page 14).
import { useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { Card } from '../approvals/card.mjs'
import { decided, off, pending } from '../approvals/pending.mjs'
import { Rules } from '../approvals/rules.mjs'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { refine, route } from '../core/router.mjs'
import { StopButton } from '../stop/form.mjs'
import { Ago, Empty } from '../ui/parts.mjs'
import { Tabs } from '../ui/tabs.mjs'

const ANSWERS = { a: 'once', d: 'deny' }

export default function Approvals() {
  const { tab = 'waiting' } = route.value.query
  const live = gateway.state.value === 'live'
  const tabs = [['waiting', t('approvals.tab.waiting')], ...(may('admin') ? [['rules', t('approvals.tab.rules')]] : [])]
  useEffect(() => {
    if (!tabs.some(([name]) => name === tab)) refine({ tab: '' })
  }, [tab])
  return html`
    <div class="page approvals">
      <header class="page-bar"><h1>${t('page.approvals')}</h1>${may('admin') && html`<${StopButton} />`}</header>
      <${Tabs} tabs=${tabs} chosen=${tab} label=${t('page.approvals')} onChoose=${(name) => refine({ tab: name === 'waiting' ? '' : name })}>
        ${tab === 'rules' ? html`<${Rules} live=${live} />` : html`<${Waiting} />`}
      <//>
    </div>`
}

// j and k go from card to card, a and d answer the one in focus, else the first (dashboard.md §16).
function Waiting() {
  const wish = useSignal(null) // [id, answer]
  const box = useRef()
  const waiting = pending.value
  useEffect(() => {
    const onKey = (event) => {
      const { key, target, ctrlKey, metaKey, altKey } = event
      const cards = [...box.current.querySelectorAll('.approval')]
      if (ctrlKey || metaKey || altKey || cards.length === 0 || target.closest('input, textarea, select, dialog, [role="tab"]')) return
      const at = cards.indexOf(document.activeElement.closest('.approval'))
      const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[key]
      if (step && !target.closest('pre')) {
        event.preventDefault()
        cards[Math.min(Math.max(at + step, 0), cards.length - 1)].focus()
      }
      if (ANSWERS[key] && may('operator')) wish.value = [cards[Math.max(at, 0)].dataset.id, ANSWERS[key]]
    }
    addEventListener('keydown', onKey)
    return () => removeEventListener('keydown', onKey)
  }, [])
  useEffect(() => {
    const lost = document.activeElement === document.body // the card that had it was answered
    if (lost) (box.current.querySelector('.approval') ?? document.getElementById('main')).focus()
  }, [waiting.length])
  return html`<div class="waiting" ref=${box}>
    ${waiting.length === 0 && html`<${Empty} title=${t('approvals.none')} hint=${off.value || t('approvals.none.hint')} />`}
    ${waiting.length > 0 && may('operator') && html`<p class="muted keys">${t('approvals.keys')}</p>`}
    ${waiting.map((one) => html`<${Card} key=${one.id} one=${one} elsewhere wish=${wish.value?.[0] === one.id && wish.value[1]} onWish=${() => (wish.value = null)} />`)}
    ${decided.value.length > 0 && html`<h2>${t('approvals.decided')}</h2>
      <ul class="decided">${decided.value.map((one) => html`<li key=${one.id}>
        <span class="status" data-status=${one.decision.startsWith('allow') ? 'ok' : 'error'}>${t(`approvals.did.${one.decision}`)}</span>
        <code title=${one.command}>${one.command}</code><span class="muted">${one.agentId} ${one.by && t('approvals.by', { by: one.by })} <${Ago} at=${one.at} /></span></li>`)}</ul>`}
  </div>`
}
