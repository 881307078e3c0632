// One built-in tool: what it takes, for whom it is on, how it is set, and what a call would do.
import { useEffect, useState } from 'preact/hooks'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { textOf } from '../ui/json.mjs'
import { Icon, IconButton, reasonOf, say } from '../ui/parts.mjs'
import { SchemaField } from '../ui/schema.mjs'
import { Status } from './status.mjs'
import { TryOut } from './try.mjs'

export function Detail({ one, onTenant, onDone, onClose }) {
  const [tool, setTool] = useState(null)
  const [trouble, setTrouble] = useState('')
  useEffect(() => {
    gateway.call('tools.get', { name: one.name }).then(setTool).catch((error) => setTrouble(reasonOf(error)))
  }, [one.name])
  return html`
    <section class="job tool-detail" aria-label=${t('tools.detail', { name: one.name })}>
      <header class="page-bar"><h2>${one.name}</h2><${Status} one=${one} />
        <${IconButton} icon="x" label=${t('close')} onClick=${onClose} /></header>
      <p>${one.description}</p>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      ${tool?.aliases.length > 0 && html`<p class="muted">${t('tools.aliases', { names: tool.aliases.join(', ') })}</p>`}
      ${may('admin') && html`<${Tenant} one=${one} onTenant=${onTenant} />`}
      ${tool?.settings_schema && html`<${Settings} tool=${tool} onDone=${onDone} />`}
      ${tool && may('operator') && html`<${TryOut} tool=${tool.name} parameters=${tool.parameters} />`}
      ${tool && html`<details><summary><${Icon} name="chevron-right" />${t('tools.parameters')}</summary><pre class="mono" tabindex="0">${textOf(tool.parameters)}</pre></details>`}
    </section>`
}

// What the caller's tenant says of it, whatever holds for everybody.
const Tenant = ({ one: { enabled, tenant_enabled: said }, onTenant }) => html`
  <label class="field tenant">${t('tools.tenant')}<select onChange=${({ target }) => onTenant(target.value)}>
    <option value="" selected=${said === null}>${t('tools.tenant.none', { state: t(enabled ? 'tools.state.on' : 'tools.state.off') })}</option>
    <option value="on" selected=${said === true}>${t('tools.state.on')}</option>
    <option value="off" selected=${said === false}>${t('tools.state.off')}</option></select></label>`

function Settings({ tool, onDone }) {
  const [settings, setSettings] = useState(tool.settings)
  const [kept, setKept] = useState(tool.settings)
  const [trouble, setTrouble] = useState('')
  const onSubmit = async (event) => {
    event.preventDefault()
    try {
      await gateway.call('tools.update', { name: tool.name, settings })
      setKept(settings)
      setTrouble('')
      say(t('tools.did.set', { name: tool.name }))
      onDone()
    } catch (error) {
      setTrouble(reasonOf(error))
    }
  }
  return html`<form class="tool-settings" aria-label=${t('tools.settings')} novalidate onSubmit=${onSubmit}>
    <${SchemaField} label=${t('tools.settings')} schema=${tool.settings_schema} value=${settings} onValue=${setSettings} />
    ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
    ${may('admin') && html`<button type="submit" class="primary" disabled=${settings === null || textOf(settings) === textOf(kept)}>${t('save')}</button>`}
  </form>`
}
