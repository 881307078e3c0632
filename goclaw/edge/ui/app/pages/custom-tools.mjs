// Tools made of commands: list, editor, try-out (dashboard.md §6.5, page 27).
import { useSignal } from '@preact/signals'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { go, href, route } from '../core/router.mjs'
import { CustomForm } from '../tools/form.mjs'
import { CustomTool } from '../tools/one.mjs'
import { Status } from '../tools/status.mjs'
import { found, ListPage, Table, Toggle, useList } from '../ui/list.mjs'

const COLUMNS = ['name', 'about', 'agent', 'timeout', 'state']

export default function CustomTools() {
  const { id } = route.value
  const agents = useSignal([])
  const form = useSignal(null) // {tool}
  const list = useList(async () => {
    const [{ tools }, known] = await Promise.all([gateway.call('tools.custom.list', {}), gateway.call('agents.list', {})])
    agents.value = known.agents
    return tools
  }, ['tools.updated'])
  const acts = {
    edit: (tool) => (form.value = { tool }),
    toggle: (one) => list.act('tools.custom.update', { id: one.id, enabled: !one.enabled }, t(one.enabled ? 'tools.did.disable' : 'tools.did.enable', { name: one.name })),
    remove: async (one) => {
      if (await list.drop([t('tools.ask.delete'), one.name], 'tools.custom.delete', { id: one.id }, t('tools.did.delete', { name: one.name }))) go('custom-tools')
    },
  }
  const nameOf = (agent) => agents.value.find(({ agentId }) => agentId === agent)?.name ?? (agent ? agent.slice(0, 8) : t('tools.everybody'))
  const shown = found(list.rows, (one) => `${one.name} ${one.description}`)
  const chosen = id && list.rows?.find((one) => one.id === id)
  const close = () => (form.value = null)
  return html`
    <${ListPage} name="custom-tools" list=${list} shown=${shown.length} search none=${[t('tools.none'), t('tools.none.hint')]}
      make=${may('admin') && [t('tools.new'), () => (form.value = {})]}>
      ${shown.length > 0 && html`<${Table} kind="tools custom" words=${(name) => t(`tools.col.${name}`)} columns=${COLUMNS} numbers=${['timeout']}>
        ${shown.map((one) => html`<tr key=${one.id} data-enabled=${String(one.enabled)} aria-selected=${one === chosen ? 'true' : undefined}>
          <td><a href=${href('custom-tools', {}, one.id)}>${one.name}</a></td>
          <td title=${one.description}>${one.description}</td>
          <td>${nameOf(one.agent_id)}</td>
          <td class="number">${one.timeout_seconds}</td>
          <td><${Status} one=${one} /></td>
          <td class="acts">${may('admin') && html`<${Toggle} one=${one} onClick=${() => acts.toggle(one)} />`}</td>
        </tr>`)}<//>`}
      ${chosen && html`<${CustomTool} key=${chosen.id} one=${chosen} acts=${acts} onClose=${() => go('custom-tools')} />`}
      ${form.value && html`<${CustomForm} ...${form.value} agents=${agents.value} onClose=${close} onDone=${() => {
        close()
        list.again()
      }} />`}
    <//>`
}
