// What may be spent, by whom and in which time, what is gone and what is left; admins set limits (providers.md §18).
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { BudgetForm } from '../budgets/form.mjs'
import { GrantForm } from '../budgets/grant.mjs'
import { amount } from '../budgets/amount.mjs'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { confirm } from '../ui/confirm.mjs'
import { Ago, Empty, Icon, IconButton, reasonOf, say, Skeleton, Trouble } from '../ui/parts.mjs'

const COLUMNS = ['whose', 'window', 'limit', 'spent', 'reserved', 'left', 'resets']
const NUMBERS = ['limit', 'spent', 'reserved', 'left']
const EVENTS = ['budget.changed', 'budget.warning', 'budget.reached']

export default function Budgets() {
  const answer = useSignal(null)
  const error = useSignal(null)
  const form = useSignal(null) // {purse} to change, {} to make one
  const granting = useSignal(null)
  const turn = useSignal(0)
  const live = gateway.state.value === 'live'
  const again = () => turn.value++
  useEffect(() => {
    if (!live) return undefined
    let wanted = true
    gateway
      .call('budgets.list', {})
      .then((found) => {
        if (!wanted) return
        answer.value = found.purses
        error.value = null
      })
      .catch((refusal) => wanted && refusal.details?.reason !== 'connection_lost' && (error.value = refusal))
    return () => (wanted = false)
  }, [live, turn.value])
  useEffect(() => {
    const ends = EVENTS.map((event) => gateway.on(event, again))
    return () => ends.forEach((end) => end())
  }, [])
  const remove = async ({ scope, key, unit, window }) => {
    if (!(await confirm(t('budgets.ask.delete'), `${t(`budgets.scope.${scope}`)} ${key}`, t('delete')))) return
    try {
      await gateway.call('budgets.delete', { scope, key, unit, window })
      say(t('budgets.did.delete'))
    } catch (refusal) {
      say(reasonOf(refusal))
      error.value = refusal
    }
    again()
  }
  const acts = { edit: (purse) => (form.value = { purse }), grant: (purse) => (granting.value = purse), remove }
  const done = () => {
    form.value = null
    granting.value = null
    again()
  }
  return html`
    <div class="page">
      <header class="page-bar">
        <h1>${t('page.budgets')}</h1>
        <span class="grow"></span>
        <${IconButton} icon="rotate-cw" label=${t('refresh')} onClick=${again} />
        ${may('admin') && html`<button type="button" class="primary" onClick=${() => (form.value = {})}><${Icon} name="plus" />${t('budgets.new')}</button>`}
      </header>
      <p class="muted">${t('budgets.hint')}</p>
      ${error.value && html`<${Trouble} error=${error.value} retry=${again} />`}
      ${!answer.value && !error.value && html`<${Skeleton} />`}
      ${answer.value?.length === 0 && html`<${Empty} title=${t('budgets.none')} />`}
      ${answer.value?.length > 0 && html`<table class="table budgets">
        <thead><tr>${COLUMNS.map((column) => html`<th key=${column} scope="col" class=${NUMBERS.includes(column) ? 'number' : undefined}>${t(`budgets.col.${column}`)}</th>`)}<th scope="col"><span class="unseen">${t('cron.actions')}</span></th></tr></thead>
        <tbody>${answer.value.map((purse) => html`<${Row} key=${[purse.scope, purse.key, purse.unit, purse.window].join(' ')} purse=${purse} acts=${acts} />`)}</tbody>
      </table>`}
      ${form.value && html`<${BudgetForm} ...${form.value} onDone=${done} onClose=${() => (form.value = null)} />`}
      ${granting.value && html`<${GrantForm} purse=${granting.value} onDone=${done} onClose=${() => (granting.value = null)} />`}
    </div>`
}

function Row({ purse, acts }) {
  const { scope, key, unit, window, mode, limit, granted, spent, reserved, left, resets_at: resets } = purse
  return html`
    <tr>
      <td>${t(`budgets.scope.${scope}`)}${scope !== 'tenant' && html` <code>${key}</code>`}</td>
      <td>${t(`budgets.window.${window}`)}</td>
      <td class="number">${limit == null ? t('budgets.counted') : amount(limit + granted, unit)}${limit != null && mode === 'soft' && html` <span class="muted">${t('budgets.mode.soft')}</span>`}</td>
      <td class="number">${amount(spent, unit)}</td>
      <td class="number">${amount(reserved, unit)}</td>
      <td class="number">${left != null && html`<span class="status" data-status=${left > 0 ? 'ok' : 'error'}>${amount(left, unit)}</span>`}</td>
      <td>${resets && html`<${Ago} at=${Date.parse(resets)} />`}</td>
      <td class="acts">${may('admin') && html`
        ${limit != null && html`<button type="button" class="quiet" onClick=${() => acts.grant(purse)}>${t('budgets.grant')}</button>`}
        <button type="button" class="quiet" onClick=${() => acts.edit(purse)}>${t('cron.act.edit')}</button>
        <button type="button" class="quiet" onClick=${() => acts.remove(purse)}>${t('delete')}</button>`}</td>
    </tr>`
}
