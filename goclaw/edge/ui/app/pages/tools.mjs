// What agents can do: built-in tools by kind, whether they are in use, how they are set (dashboard.md §6.5, page 26).
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { go, href, refine, route } from '../core/router.mjs'
import { Detail } from '../tools/detail.mjs'
import { Policy } from '../tools/policy.mjs'
import { stateOf, Status } from '../tools/status.mjs'
import { found, ListPage, Table, Toggle, useList } from '../ui/list.mjs'

const COLUMNS = ['name', 'about', 'needs', 'state']

export default function Tools() {
  const { id, query: { view } } = route.value
  const list = useList(async () => (await gateway.call('tools.list', {})).tools, ['tools.updated'])
  const did = (name, on) => t(on ? 'tools.did.enable' : 'tools.did.disable', { name })
  const tenant = ({ name, enabled }, choice) =>
    choice === ''
      ? list.act('tools.tenant.clear', { name }, did(name, enabled))
      : list.act('tools.tenant.set', { name, enabled: choice === 'on' }, did(name, choice === 'on'))
  const toggle = (one) => {
    const on = stateOf({ ...one, available: true }) === 'on'
    if (one.tenant_enabled !== null) return tenant(one, on ? 'off' : 'on')
    return list.act('tools.update', { name: one.name, enabled: !on }, did(one.name, !on))
  }
  const shown = found(list.rows, (one) => `${one.name} ${one.description} ${one.category}`)
  const kinds = [...new Set(shown.map((one) => one.category))].sort()
  const chosen = id && list.rows?.find((one) => one.name === id)
  const bar = may('admin') && html`<a class="button" href=${href('tools', { view: 'policy' })}>${t('tools.policy')}</a>`
  return html`
    <${ListPage} name="tools" list=${list} shown=${shown.length} search bar=${bar}>
      ${view === 'policy' && list.rows && may('admin') && html`<${Policy} tools=${list.rows} onClose=${() => refine({ view: '' })} />`}
      ${chosen && html`<${Detail} key=${chosen.name} one=${chosen} onTenant=${(choice) => tenant(chosen, choice)} onDone=${list.again} onClose=${() => go('tools')} />`}
      ${kinds.map((kind) => html`<section key=${kind} class="tool-kind" aria-label=${kind}>
        <h2>${kind}</h2>
        <${Table} kind="tools" words=${(name) => t(`tools.col.${name}`)} columns=${COLUMNS}>
          ${shown.filter((one) => one.category === kind).map((one) => html`<${Row} key=${one.name} one=${one} toggle=${toggle} chosen=${one === chosen} />`)}<//>
      </section>`)}
    <//>`
}

const Row = ({ one, toggle, chosen }) => html`
  <tr data-enabled=${String(stateOf(one) === 'on')} aria-selected=${chosen ? 'true' : undefined}>
    <td><a href=${href('tools', {}, one.name)}>${one.name}</a></td>
    <td title=${one.description}>${one.description}</td>
    <td>${one.requires.map((program) => html`<code key=${program} class="need" data-missing=${String(one.missing.includes(program))}>${program}</code>`)}</td>
    <td><${Status} one=${one} /></td>
    <td class="acts">${may('admin') && html`<${Toggle} one=${{ enabled: one.tenant_enabled ?? one.enabled }} onClick=${() => toggle(one)} />`}</td>
  </tr>`
