// One message to an agent from outside: it is answered in a session of its own (sessions-lanes-cron.md §6.4).
import { useState } from 'preact/hooks'
import { post } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { href } from '../core/router.mjs'
import { Dialog } from '../ui/dialog.mjs'
import { Icon, reasonOf } from '../ui/parts.mjs'

export function Wake({ one }) {
  const [asking, setAsking] = useState(false)
  const [message, setMessage] = useState('')
  const [trouble, setTrouble] = useState('')
  const [woken, setWoken] = useState(null)
  const onSubmit = async () => {
    try {
      setWoken(await post(`/v1/agents/${one.id}/wake?async=true`, { message: message.trim() }))
      setAsking(false)
      setMessage('')
      setTrouble('')
    } catch (refusal) {
      setTrouble(reasonOf(refusal))
    }
  }
  return html`
    <button type="button" disabled=${one.status !== 'active'} onClick=${() => setAsking(true)}>${t('agents.wake')}</button>
    ${woken && html`<span role="status">${t('agents.woken')} <a href=${href('runs', {}, woken.run_id)}>${t('agents.woken.run')}</a></span>`}
    ${asking && html`<${Dialog} title=${t('agents.wake.ask', { name: one.display_name })} yes=${t('agents.wake')} ready=${message.trim() !== ''} onSubmit=${onSubmit} onClose=${() => setAsking(false)}>
      <p>${t('agents.wake.hint')}</p>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      <label class="field">${t('agents.wake.message')}<textarea rows="4" maxlength="32000" value=${message} onInput=${(event) => setMessage(event.target.value)} /></label>
    <//>`}`
}
