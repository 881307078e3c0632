// Makes a purse or changes its limit; an empty limit only counts (providers.md §18, budgets.set).
import { useState } from 'preact/hooks'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Dialog } from '../ui/dialog.mjs'
import { Icon, reasonOf } from '../ui/parts.mjs'

const WHOLE = '-' // the key of the tenant's own purses
const CHOICES = { scope: ['tenant', 'user', 'agent'], unit: ['usd', 'tokens'], window: ['day', 'week', 'month', 'total'], mode: ['hard', 'soft'] }

// `purse` is the one to change, if any: whose it is stays.
export function BudgetForm({ purse, onDone, onClose }) {
  const [form, setForm] = useState(() => ({ scope: 'tenant', key: '', unit: 'usd', window: 'month', mode: 'hard', ...purse, limit: String(purse?.limit ?? '') }))
  const [trouble, setTrouble] = useState('')
  const set = (name) => (event) => setForm({ ...form, [name]: event.target.value })
  const onSubmit = async () => {
    const { scope, key, unit, window, mode, limit } = form
    try {
      await gateway.call('budgets.set', { scope, key: scope === 'tenant' ? WHOLE : key.trim(), unit, window, mode, limit: limit === '' ? null : Number(limit) })
      onDone()
    } catch (error) {
      setTrouble(reasonOf(error))
    }
  }
  const choose = (name) => html`<label class="field">${t(`budgets.field.${name}`)}<select onChange=${set(name)}>
    ${CHOICES[name].map((one) => html`<option key=${one} value=${one} selected=${one === form[name]}>${t(`budgets.${name}.${one}`)}</option>`)}</select></label>`
  const ready = form.scope === 'tenant' || form.key.trim() !== ''
  return html`
    <${Dialog} title=${t(purse ? 'budgets.edit' : 'budgets.new')} yes=${t('save')} ready=${ready} onSubmit=${onSubmit} onClose=${onClose}>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      ${!purse && html`${choose('scope')}
        ${form.scope !== 'tenant' && html`<label class="field">${t(`budgets.key.${form.scope}`)}<input class="mono" required maxlength="255" spellcheck=${false} value=${form.key} onInput=${set('key')} /></label>`}
        <div class="pair">${choose('unit')}${choose('window')}</div>`}
      <label class="field">${t('budgets.field.limit')}<input type="number" min="0" step="any" placeholder=${t('budgets.counted')} value=${form.limit} onInput=${set('limit')} /></label>
      ${choose('mode')}
    <//>`
}
