// Gives a purse more for the window that runs, with the reason (providers.md §18, budgets.grant).
import { useState } from 'preact/hooks'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Dialog } from '../ui/dialog.mjs'
import { Icon, reasonOf } from '../ui/parts.mjs'

export function GrantForm({ purse, onDone, onClose }) {
  const { scope, key, unit, window } = purse
  const [more, setMore] = useState('')
  const [reason, setReason] = useState('')
  const [trouble, setTrouble] = useState('')
  const onSubmit = async () => {
    try {
      await gateway.call('budgets.grant', { scope, key, unit, window, amount: Number(more), reason })
      onDone()
    } catch (error) {
      setTrouble(reasonOf(error))
    }
  }
  return html`
    <${Dialog} title=${t('budgets.grant.title', { key })} yes=${t('budgets.grant')} ready=${Number(more) > 0 && reason.trim() !== ''} onSubmit=${onSubmit} onClose=${onClose}>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      <label class="field">${t(`budgets.more.${unit}`)}<input type="number" min="0" step="any" required value=${more} onInput=${(event) => setMore(event.target.value)} /></label>
      <label class="field">${t('budgets.reason')}<input required maxlength="500" value=${reason} onInput=${(event) => setReason(event.target.value)} /></label>
    <//>`
}
