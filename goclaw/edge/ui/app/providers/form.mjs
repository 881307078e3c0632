// Adds or changes a provider. A key is written, never read: what stays empty stays as it is (dashboard.md §6.8).
import { useEffect, useState } from 'preact/hooks'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Dialog } from '../ui/dialog.mjs'
import { Icon, reasonOf } from '../ui/parts.mjs'

const FREE = 'openai_compat' // the type that has no address of its own

// `provider` is the one to change, if any.
export function ProviderForm({ provider, onDone, onClose }) {
  const [form, setForm] = useState(() => formOf(provider))
  const [presets, setPresets] = useState([])
  const [trouble, setTrouble] = useState('')
  useEffect(() => {
    gateway.call('providers.presets', {}).then((answer) => setPresets(answer.presets)).catch((error) => setTrouble(reasonOf(error)))
  }, [])
  const set = (name) => (event) => setForm({ ...form, [name]: event.target.value })
  const preset = presets.find(({ type }) => type === form.type)
  const onType = (event) => {
    const type = event.target.value
    const named = form.name === '' || form.name === nameOf(form.type)
    setForm({ ...form, type, name: named ? nameOf(type) : form.name })
  }
  const onSubmit = async () => {
    const { name, displayName, base, key, models, atOnce, timeout } = form
    const settings = { ...provider?.settings, models: models.split(',').map((model) => model.trim()).filter(Boolean), max_concurrency: Number(atOnce), timeout_sec: Number(timeout) }
    const wanted = { display_name: displayName, api_base: base, settings, ...(key && { api_key: key }) }
    try {
      await (provider ? gateway.call('providers.update', { id: provider.id, ...wanted }) : gateway.call('providers.create', { name, provider_type: form.type, ...wanted }))
      onDone()
    } catch (error) {
      setTrouble(reasonOf(error))
    }
  }
  const ready = form.name !== '' && (provider || form.base !== '' || preset?.api_base || preset?.keyless) && Number(form.atOnce) > 0 && Number(form.timeout) > 0
  return html`
    <${Dialog} title=${t(provider ? 'providers.edit' : 'providers.new')} yes=${t('save')} ready=${!!ready} onSubmit=${onSubmit} onClose=${onClose}>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      ${!provider && html`<label class="field">${t('providers.col.type')}<select onChange=${onType}>
        ${presets.map(({ type }) => html`<option key=${type} value=${type} selected=${type === form.type}>${type}</option>`)}</select></label>
        <label class="field">${t('providers.col.name')}<input required pattern="[a-z0-9][a-z0-9_\\-]*" maxlength="50" value=${form.name} onInput=${set('name')} /></label>`}
      <label class="field">${t('providers.field.title')}<input maxlength="255" value=${form.displayName} onInput=${set('displayName')} /></label>
      <label class="field">${t('providers.col.base')}<input class="mono" type="url" maxlength="2048" spellcheck=${false} placeholder=${preset?.api_base} value=${form.base} onInput=${set('base')} /></label>
      <label class="field">${t('providers.col.key')}<input class="mono" type="password" maxlength="4096" autocomplete="off" placeholder=${provider?.has_api_key ? t('providers.key.keep') : ''} value=${form.key} onInput=${set('key')} /></label>
      <label class="field">${t('providers.models')}<input class="mono" spellcheck=${false} placeholder=${preset?.model} value=${form.models} onInput=${set('models')} /></label>
      <div class="pair">
        <label class="field">${t('providers.field.atonce')}<input type="number" min="1" max="10000" value=${form.atOnce} onInput=${set('atOnce')} /></label>
        <label class="field">${t('providers.field.timeout')}<input type="number" min="1" max="86400" value=${form.timeout} onInput=${set('timeout')} /></label></div>
    <//>`
}

const nameOf = (type) => (type === FREE ? '' : type.replace('_native', ''))

function formOf(provider) {
  const { settings = {} } = provider ?? {}
  return {
    type: provider?.provider_type ?? FREE,
    name: provider?.name ?? '',
    displayName: provider?.display_name ?? '',
    base: provider?.api_base ?? '',
    key: '',
    models: (settings.models ?? []).join(', '),
    atOnce: String(settings.max_concurrency ?? 64),
    timeout: String(settings.timeout_sec ?? 300),
  }
}
