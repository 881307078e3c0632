// Who answers: vendors of models, built in, configured and added, and everything one may do to them (dashboard.md §6.8).
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { compact } from '../core/format.mjs'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { go, href, refine, route } from '../core/router.mjs'
import { Detail } from '../providers/detail.mjs'
import { ProviderForm } from '../providers/form.mjs'
import { Status } from '../providers/status.mjs'
import { confirm } from '../ui/confirm.mjs'
import { Icon, IconButton, reasonOf, say, Skeleton, Trouble } from '../ui/parts.mjs'

const COLUMNS = ['name', 'type', 'base', 'key', 'status', 'calls', 'agents']

export default function Providers() {
  const { id, query: { q = '' } } = route.value
  const answer = useSignal(null)
  const error = useSignal(null)
  const form = useSignal(null) // {provider}
  const turn = useSignal(0)
  const live = gateway.state.value === 'live'
  const again = () => turn.value++
  useEffect(() => {
    if (!live) return undefined
    let wanted = true
    gateway
      .call('providers.list', {})
      .then((found) => {
        if (!wanted) return
        answer.value = found.providers
        error.value = null
      })
      .catch((refusal) => wanted && refusal.details?.reason !== 'connection_lost' && (error.value = refusal))
    return () => (wanted = false)
  }, [live, turn.value])
  useEffect(() => gateway.on('provider.status', again), [])
  const act = async (method, params, done) => {
    try {
      await gateway.call(method, params)
      say(done)
      error.value = null
      return true
    } catch (refusal) {
      say(reasonOf(refusal))
      error.value = refusal
      return false
    } finally {
      again()
    }
  }
  const acts = {
    edit: (provider) => (form.value = { provider }),
    toggle: (one) => act('providers.toggle', { id: one.id, enabled: !one.enabled }, t(one.enabled ? 'providers.did.disable' : 'providers.did.enable', { name: one.name })),
    remove: async (one) => {
      const question = one.agents > 0 ? t('providers.ask.force', { agents: one.agents }) : t('providers.ask.delete')
      if (!(await confirm(question, one.display_name, t('delete')))) return
      if (await act('providers.delete', { id: one.id, force: one.agents > 0 }, t('providers.did.delete', { name: one.name }))) go('providers')
    },
  }
  const all = answer.value ?? []
  const shown = all.filter((one) => `${one.name} ${one.display_name} ${one.provider_type}`.toLowerCase().includes(q.toLowerCase()))
  const chosen = id && all.find((one) => one.id === id || one.name === id)
  return html`
    <div class="page">
      <header class="page-bar">
        <h1>${t('page.providers')}</h1>
        <label class="search"><${Icon} name="search" /><span class="unseen">${t('search')}</span>
          <input type="search" placeholder=${t('search')} value=${q} onInput=${(event) => refine({ q: event.target.value })} /></label>
        <${IconButton} icon="rotate-cw" label=${t('refresh')} onClick=${again} />
        ${may('admin') && html`<button type="button" class="primary" onClick=${() => (form.value = {})}><${Icon} name="plus" />${t('providers.new')}</button>`}
      </header>
      ${answer.value && !all.some((one) => one.usable && one.source !== 'builtin') && html`<p class="banner warn"><${Icon} name="triangle-alert" />${t('providers.offline.only')}</p>`}
      ${error.value && html`<${Trouble} error=${error.value} retry=${again} />`}
      ${!answer.value && !error.value && html`<${Skeleton} />`}
      ${shown.length > 0 && html`<table class="table providers">
        <thead><tr>${COLUMNS.map((column) => html`<th key=${column} scope="col">${t(`providers.col.${column}`)}</th>`)}<th scope="col"><span class="unseen">${t('cron.actions')}</span></th></tr></thead>
        <tbody>${shown.map((one) => html`<${Row} key=${one.id} one=${one} acts=${acts} chosen=${one === chosen} />`)}</tbody>
      </table>`}
      ${chosen && html`<${Detail} key=${chosen.id} one=${chosen} acts=${acts} onDone=${again} onClose=${() => go('providers')} />`}
      ${form.value && html`<${ProviderForm} ...${form.value} onClose=${() => (form.value = null)} onDone=${() => {
        form.value = null
        again()
      }} />`}
    </div>`
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
    <td class="acts">${may('admin') && one.source === 'store' && html`
      <button type="button" class="quiet" onClick=${() => acts.toggle(one)}>${t(one.enabled ? 'cron.act.disable' : 'cron.act.enable')}</button>`}</td>
  </tr>`
