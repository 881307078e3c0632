// What may be spent, by whom and in which time, what is gone and what is left; admins set limits (providers.md §18).
import { useSignal } from '@preact/signals'
import { BudgetForm } from '../budgets/form.mjs'
import { GrantForm } from '../budgets/grant.mjs'
import { amount } from '../budgets/amount.mjs'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Act, ListPage, Table, useList } from '../ui/list.mjs'
import { Ago } from '../ui/parts.mjs'

const COLUMNS = ['whose', 'window', 'limit', 'spent', 'reserved', 'left', 'resets']
const NUMBERS = ['limit', 'spent', 'reserved', 'left']
const EVENTS = ['budget.changed', 'budget.warning', 'budget.reached']

export default function Budgets() {
  const list = useList(async () => (await gateway.call('budgets.list', {})).purses, EVENTS)
  const form = useSignal(null) // {purse} to change, {} to make one
  const granting = useSignal(null)
  const acts = {
    edit: (purse) => (form.value = { purse }),
    grant: (purse) => (granting.value = purse),
    remove: ({ scope, key, unit, window }) =>
      list.drop([t('budgets.ask.delete'), `${t(`budgets.scope.${scope}`)} ${key}`], 'budgets.delete', { scope, key, unit, window }, t('budgets.did.delete')),
  }
  const close = () => (form.value = granting.value = null)
  const done = () => {
    close()
    list.again()
  }
  return html`
    <${ListPage} name="budgets" list=${list} hint=${t('budgets.hint')} none=${[t('budgets.none')]} make=${may('admin') && [t('budgets.new'), () => (form.value = {})]}>
      ${list.rows?.length > 0 && html`<${Table} kind="budgets" words=${(name) => t(`budgets.col.${name}`)} columns=${COLUMNS} numbers=${NUMBERS}>
        ${list.rows.map((purse) => html`<${Row} key=${[purse.scope, purse.key, purse.unit, purse.window].join(' ')} purse=${purse} acts=${acts} />`)}<//>`}
      ${form.value && html`<${BudgetForm} ...${form.value} onDone=${done} onClose=${close} />`}
      ${granting.value && html`<${GrantForm} purse=${granting.value} onDone=${done} onClose=${close} />`}
    <//>`
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
        ${limit != null && html`<${Act} onClick=${() => acts.grant(purse)}>${t('budgets.grant')}<//>`}
        <${Act} onClick=${() => acts.edit(purse)}>${t('cron.act.edit')}<//>
        <${Act} onClick=${() => acts.remove(purse)}>${t('delete')}<//>`}</td>
    </tr>`
}
