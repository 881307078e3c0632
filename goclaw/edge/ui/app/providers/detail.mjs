// One provider: how it fares, what it has, and whether it answers (dashboard.md §6.8, page 45).
import { useState } from 'preact/hooks'
import { compact } from '../core/format.mjs'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Ago, Icon, IconButton, reasonOf } from '../ui/parts.mjs'
import { Login } from './login.mjs'
import { Status } from './status.mjs'

const ACCOUNT = 'chatgpt_oauth'

export function Detail({ one, acts, onDone, onClose }) {
  const own = may('admin') && one.source === 'store'
  return html`
    <section class="job provider" aria-label=${t('providers.detail', { name: one.display_name })}>
      <header class="page-bar"><h2>${one.display_name}</h2><${Status} one=${one} />
        ${own && html`<button type="button" onClick=${() => acts.edit(one)}>${t('cron.act.edit')}</button>
          <button type="button" onClick=${() => acts.remove(one)}>${t('delete')}</button>`}
        <${IconButton} icon="x" label=${t('close')} onClick=${onClose} /></header>
      ${one.enabled && one.error && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${one.error}</span></p>`}
      <p class="muted">${t(`providers.source.${one.source}`)}${one.settings.models?.length > 0 && ` ${t('providers.answers', { models: one.settings.models.join(', ') })}`}</p>
      <p class="traffic">${t('providers.traffic', { calls: compact(one.calls_24h), errors: compact(one.errors_24h), fallbacks: compact(one.fallbacks) })}</p>
      ${one.order.length > 1 && html`<h3>${t('providers.order')}</h3><ol>${one.order.map((candidate) => html`<li key=${candidate}><code>${candidate}</code></li>`)}</ol>`}
      ${one.cooldowns.length > 0 && html`<h3>${t('providers.cooldowns')}</h3><table class="table">
        <thead><tr>${['model', 'slot', 'reason', 'until'].map((column) => html`<th key=${column} scope="col">${t(`providers.rest.${column}`)}</th>`)}</tr></thead>
        <tbody>${one.cooldowns.map((rest) => html`<tr key=${`${rest.model} ${rest.slot}`}><td>${rest.model}</td><td>${rest.slot == null ? t('providers.rest.all') : rest.slot + 1}</td>
          <td>${rest.reason}</td><td><${Ago} at=${rest.until * 1000} /></td></tr>`)}</tbody></table>`}
      ${may('admin') && one.provider_type === ACCOUNT && html`<${Login} onDone=${onDone} />`}
      ${may('admin') && html`<${Verify} one=${one} onDone=${onDone} />`}
      <${Models} one=${one} />
    </section>`
}

function Verify({ one, onDone }) {
  const [model, setModel] = useState(one.settings.models?.[0] ?? '')
  const [said, setSaid] = useState(null)
  const [busy, setBusy] = useState(false)
  const onSubmit = async (event) => {
    event.preventDefault()
    setBusy(true)
    try {
      setSaid(await gateway.call('providers.verify', { id: one.id, model: model.trim() }))
    } catch (error) {
      setSaid({ valid: false, error: reasonOf(error) })
    }
    setBusy(false)
    onDone()
  }
  return html`<form class="verify" onSubmit=${onSubmit}>
    <label class="field">${t('providers.verify.model')}<input class="mono" maxlength="200" spellcheck=${false} value=${model} onInput=${(event) => setModel(event.target.value)} /></label>
    <button type="submit" disabled=${busy}>${t('providers.verify')}</button>
    ${said && html`<p role="status" class="status" data-status=${said.valid ? 'ok' : 'error'}>${said.valid ? t('providers.verified', { ms: said.latency_ms }) : said.error}</p>`}
  </form>`
}

function Models({ one }) {
  const [found, setFound] = useState(null)
  const [busy, setBusy] = useState(false)
  const onClick = async () => {
    setBusy(true)
    try {
      setFound(await gateway.call('providers.models', { id: one.id }))
    } catch (error) {
      setFound({ models: [], error: reasonOf(error) })
    }
    setBusy(false)
  }
  return html`
    <header class="page-bar"><h3>${t('providers.models')}</h3><button type="button" disabled=${busy} onClick=${onClick}>${t('providers.fetch')}</button></header>
    ${found?.error && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${found.error}</span></p>`}
    ${found?.models.length > 0 && html`<table class="table models">
      <thead><tr><th scope="col">${t('providers.rest.model')}</th><th scope="col" class="number">${t('providers.window')}</th><th scope="col">${t('providers.thinks')}</th></tr></thead>
      <tbody>${found.models.map((model) => html`<tr key=${model.id}><td><code>${model.id}</code></td><td class="number">${compact(model.context_window)}</td>
        <td>${model.reasoning && html`<${Icon} name="check" />`}</td></tr>`)}</tbody></table>`}`
}
