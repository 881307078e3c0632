// One built-in tool: what it takes, what can be set, and what a call would do.
import { useEffect, useState } from 'preact/hooks'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Icon, IconButton, reasonOf, say } from '../ui/parts.mjs'
import { JsonField, objectOf, textOf } from './json.mjs'
import { Status } from './status.mjs'
import { TryOut } from './try.mjs'

export function Detail({ one, onDone, onClose }) {
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
      ${tool?.settings_schema && html`<${Settings} tool=${tool} onDone=${onDone} />`}
      ${tool && may('operator') && html`<${TryOut} tool=${tool.name} parameters=${tool.parameters} />`}
      ${tool && html`<details><summary>${t('tools.parameters')}</summary><pre class="mono">${textOf(tool.parameters)}</pre></details>`}
    </section>`
}

function Settings({ tool, onDone }) {
  const [text, setText] = useState(textOf(tool.settings))
  const [trouble, setTrouble] = useState('')
  const settings = objectOf(text)
  const onSubmit = async (event) => {
    event.preventDefault()
    try {
      await gateway.call('tools.update', { name: tool.name, settings })
      setTrouble('')
      say(t('tools.did.set', { name: tool.name }))
      onDone()
    } catch (error) {
      setTrouble(reasonOf(error))
    }
  }
  return html`<form class="tool-settings" onSubmit=${onSubmit}>
    <${JsonField} label=${t('tools.settings')} text=${text} rows="4" onText=${setText} />
    ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
    <details><summary>${t('tools.settings.schema')}</summary><pre class="mono">${textOf(tool.settings_schema)}</pre></details>
    ${may('admin') && html`<button type="submit" disabled=${settings === null}>${t('save')}</button>`}
  </form>`
}
