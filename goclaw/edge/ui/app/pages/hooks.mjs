// What people put before and behind the steps of runs: list, editor, trial, history (dashboard.md §6.5, page 30).
import { useSignal } from '@preact/signals'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { go, href, route } from '../core/router.mjs'
import { Detail } from '../hooks/detail.mjs'
import { HookForm } from '../hooks/form.mjs'
import { found, ListPage, Table, Toggle, useList } from '../ui/list.mjs'

const COLUMNS = ['name', 'event', 'handler', 'matcher', 'scope', 'priority', 'state']

export default function Hooks() {
  const { id } = route.value
  const agents = useSignal([])
  const form = useSignal(null) // {hook}
  const list = useList(async () => {
    const [{ hooks }, known] = await Promise.all([gateway.call('hooks.list', {}), gateway.call('agents.list', {})])
    agents.value = known.agents
    return hooks
  }, ['security.hook.circuit_breaker'])
  const acts = {
    edit: (hook) => (form.value = { hook }),
    toggle: (one) => list.act('hooks.toggle', { hookId: one.id, enabled: !one.enabled }, t(one.enabled ? 'tools.did.disable' : 'tools.did.enable', { name: titleOf(one) })),
    remove: async (one) => {
      if (await list.drop([t('hooks.ask.delete'), titleOf(one)], 'hooks.delete', { hookId: one.id }, t('tools.did.delete', { name: titleOf(one) }))) go('hooks')
    },
  }
  const shown = found(list.rows, (one) => `${one.name} ${one.event} ${one.matcher ?? ''}`)
  const chosen = id && list.rows?.find((one) => one.id === id)
  const close = () => (form.value = null)
  return html`
    <${ListPage} name="hooks" list=${list} shown=${shown.length} search hint=${t('hooks.hint')} none=${[t('hooks.none'), t('hooks.none.hint')]}
      make=${may('admin') && [t('hooks.new'), () => (form.value = {})]}>
      ${shown.length > 0 && html`<${Table} kind="hooks-list" words=${(name) => t(`hooks.col.${name}`)} columns=${COLUMNS} numbers=${['priority']}>
        ${shown.map((one) => html`<${Row} key=${one.id} one=${one} acts=${acts} chosen=${one === chosen} />`)}<//>`}
      ${chosen && html`<${Detail} key=${chosen.id} hook=${chosen} acts=${acts} onClose=${() => go('hooks')} />`}
      ${form.value && html`<${HookForm} ...${form.value} agents=${agents.value} onClose=${close} onDone=${() => {
        close()
        list.again()
      }} />`}
    <//>`
}

const titleOf = (one) => one.name || t(`hooks.event.${one.event}`)

const Row = ({ one, acts, chosen }) => html`
  <tr data-enabled=${String(one.enabled)} aria-selected=${chosen ? 'true' : undefined}>
    <td><a href=${href('hooks', {}, one.id)}>${titleOf(one)}</a></td>
    <td>${t(`hooks.event.${one.event}`)}</td>
    <td>${t(`hooks.handler.${one.handlerType}`)}</td>
    <td><code>${one.matcher}</code></td>
    <td>${t(`hooks.scope.${one.scope}`)}</td>
    <td class="number">${one.priority}</td>
    <td><span class="status" data-status=${one.enabled ? 'ok' : 'off'}>${t(one.enabled ? 'tools.state.on' : 'tools.state.off')}</span></td>
    <td class="acts">${may('admin') && one.source !== 'builtin' && html`<${Toggle} one=${one} onClick=${() => acts.toggle(one)} />`}</td>
  </tr>`
