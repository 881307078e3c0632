// Commands that wait for a yes, what was decided, the rules, and the emergency stop (dashboard.md §6.2, page 14).
import { useEffect } from 'preact/hooks'
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

const Waiting = () => html`
  ${pending.value.length === 0 && html`<${Empty} title=${t('approvals.none')} hint=${off.value || t('approvals.none.hint')} />`}
  ${pending.value.map((one) => html`<${Card} key=${one.id} one=${one} elsewhere />`)}
  ${decided.value.length > 0 && html`<h2>${t('approvals.decided')}</h2>
    <ul class="decided">${decided.value.map((one) => html`<li key=${one.id}>
      <span class="status" data-status=${one.decision.startsWith('allow') ? 'ok' : 'error'}>${t(`approvals.did.${one.decision}`)}</span>
      <code>${one.command}</code><span class="muted">${one.agentId} ${one.by && t('approvals.by', { by: one.by })} <${Ago} at=${one.at} /></span></li>`)}</ul>`}`
