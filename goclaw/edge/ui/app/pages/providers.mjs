// Who answers: vendors of models, built in, configured and added, and everything one may do to them (dashboard.md §6.8).
import { useSignal } from '@preact/signals'
import { compact } from '../core/format.mjs'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { go, href, route } from '../core/router.mjs'
import { Detail } from '../providers/detail.mjs'
import { ProviderForm } from '../providers/form.mjs'
import { Status } from '../providers/status.mjs'
import { found, ListPage, Table, Toggle, useList } from '../ui/list.mjs'
import { Icon } from '../ui/parts.mjs'

const COLUMNS = ['name', 'type', 'base', 'key', 'status', 'calls', 'agents']

export default function Providers() {
  const { id } = route.value
  const list = useList(async () => (await gateway.call('providers.list', {})).providers, ['provider.status'])
  const form = useSignal(null) // {provider}
  const acts = {
    edit: (provider) => (form.value = { provider }),
    toggle: (one) => list.act('providers.toggle', { id: one.id, enabled: !one.enabled }, t(one.enabled ? 'providers.did.disable' : 'providers.did.enable', { name: one.name })),
    remove: async (one) => {
      const question = one.agents > 0 ? t('providers.ask.force', { agents: one.agents }) : t('providers.ask.delete')
      const gone = await list.drop([question, one.display_name], 'providers.delete', { id: one.id, force: one.agents > 0 }, t('providers.did.delete', { name: one.name }))
      if (gone) go('providers')
    },
  }
  const shown = found(list.rows, (one) => `${one.name} ${one.display_name} ${one.provider_type}`)
  const chosen = id && list.rows?.find((one) => one.id === id || one.name === id)
  const close = () => (form.value = null)
  return html`
    <${ListPage} name="providers" list=${list} shown=${shown.length} search make=${may('admin') && [t('providers.new'), () => (form.value = {})]}>
      ${list.rows && !list.rows.some((one) => one.usable && one.source !== 'builtin') && html`<p class="banner warn"><${Icon} name="triangle-alert" />${t('providers.offline.only')}</p>`}
      ${shown.length > 0 && html`<${Table} kind="providers" words=${(name) => t(`providers.col.${name}`)} columns=${COLUMNS}>
        ${shown.map((one) => html`<${Row} key=${one.id} one=${one} acts=${acts} chosen=${one === chosen} />`)}<//>`}
      ${chosen && html`<${Detail} key=${chosen.id} one=${chosen} acts=${acts} onDone=${list.again} onClose=${() => go('providers')} />`}
      ${form.value && html`<${ProviderForm} ...${form.value} onClose=${close} onDone=${() => {
        close()
        list.again()
      }} />`}
    <//>`
}

const Row = ({ one, acts, chosen }) => html`
  <tr data-enabled=${String(one.enabled)} aria-selected=${chosen ? 'true' : undefined}>
    <td><a href=${href('providers', {}, one.id)}>${one.display_name}</a>${one.display_name !== one.name && html` <span class="muted">${one.name}</span>`}</td>
    <td>${one.provider_type}</td>
    <td><code>${one.api_base}</code></td>
    <td>${t(one.has_api_key ? 'providers.key.set' : 'providers.key.none')}</td>
    <td><${Status} one=${one} /></td>
    <td class="number">${compact(one.calls_24h)}${one.errors_24h > 0 && html` <span class="muted">${t('providers.failed', { errors: compact(one.errors_24h) })}</span>`}</td>
    <td class="number">${one.agents}</td>
    <td class="acts">${may('admin') && one.source === 'store' && html`<${Toggle} one=${one} onClick=${() => acts.toggle(one)} />`}</td>
  </tr>`
