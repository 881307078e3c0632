// Makes or changes a tool of a command. Its environment is written, never read: what stays empty stays as it is.
import { useState } from 'preact/hooks'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Dialog } from '../ui/dialog.mjs'
import { Icon, reasonOf } from '../ui/parts.mjs'
import { JsonField, objectOf, textOf } from '../ui/json.mjs'

const EFFECTS = ['unsafe', 'pure']
const BEGINNING = { type: 'object', properties: { path: { type: 'string' } }, required: ['path'] }

// `tool` is the one to change, if any.
export function CustomForm({ tool, agents, onDone, onClose }) {
  const [form, setForm] = useState(() => formOf(tool))
  const [trouble, setTrouble] = useState('')
  const set = (name) => (event) => setForm({ ...form, [name]: event.target.value })
  const parameters = objectOf(form.parameters)
  const strange = parameters ? placesOf(form.command).filter((key) => !(key in (parameters.properties ?? {}))) : []
  const onSubmit = async () => {
    const env = envOf(form.env)
    const wanted = {
      name: form.name,
      description: form.description,
      command: form.command,
      parameters,
      working_dir: form.place,
      timeout_seconds: Number(form.timeout),
      agent_id: form.agent || null,
      effect_class: form.effect,
      acknowledged_groups: form.groups.split(',').map((group) => group.trim()).filter(Boolean),
    }
    try {
      const kept = await (tool ? gateway.call('tools.custom.update', { id: tool.id, ...wanted, ...(env && { env }) }) : gateway.call('tools.custom.create', wanted))
      if (!tool && env) await gateway.call('tools.custom.update', { id: kept.id, env })
      onDone()
    } catch (error) {
      setTrouble(reasonOf(error))
    }
  }
  const ready = form.name !== '' && form.command.trim() !== '' && parameters !== null && strange.length === 0 && Number(form.timeout) > 0
  return html`
    <${Dialog} title=${t(tool ? 'tools.edit' : 'tools.new')} yes=${t('save')} ready=${ready} onSubmit=${onSubmit} onClose=${onClose}>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      <label class="field">${t('tools.col.name')}<input required pattern="[a-z][a-z0-9_\\-]*" maxlength="64" value=${form.name} onInput=${set('name')} /></label>
      <label class="field">${t('tools.col.about')}<textarea rows="2" maxlength="4096" value=${form.description} onInput=${set('description')} /></label>
      <label class="field">${t('tools.field.command')}<textarea required class="mono" rows="3" maxlength="16384" spellcheck=${false} placeholder="df -h {{.path}}" value=${form.command} onInput=${set('command')} /></label>
      ${strange.length > 0 && html`<p class="form-error" role="status"><${Icon} name="triangle-alert" /><span>${t('tools.strange', { names: strange.join(', ') })}</span></p>`}
      <${JsonField} label=${t('tools.parameters')} text=${form.parameters} rows="7" onText=${(text) => setForm({ ...form, parameters: text })} />
      <label class="field">${t('tools.field.env')}<textarea class="mono" rows="2" spellcheck=${false} autocomplete="off" placeholder=${tool?.env_keys.length ? t('tools.env.keep', { names: tool.env_keys.join(', ') }) : 'API_TOKEN=…'} value=${form.env} onInput=${set('env')} /></label>
      <div class="pair">
        <label class="field">${t('tools.col.agent')}<select onChange=${set('agent')}><option value="" selected=${form.agent === ''}>${t('tools.everybody')}</option>
          ${agents.map(({ agentId, name }) => html`<option key=${agentId} value=${agentId} selected=${agentId === form.agent}>${name}</option>`)}</select></label>
        <label class="field">${t('tools.field.effect')}<select onChange=${set('effect')}>${EFFECTS.map((effect) => html`<option key=${effect} value=${effect} selected=${effect === form.effect}>${t(`tools.effect.${effect}`)}</option>`)}</select></label>
        <label class="field">${t('tools.col.timeout')}<input type="number" min="1" max="3600" value=${form.timeout} onInput=${set('timeout')} /></label>
        <label class="field">${t('tools.field.place')}<input class="mono" maxlength="4096" spellcheck=${false} value=${form.place} onInput=${set('place')} /></label></div>
      <label class="field">${t('tools.field.groups')}<input class="mono" spellcheck=${false} value=${form.groups} onInput=${set('groups')} /></label>
    <//>`
}

const placesOf = (command) => [...new Set([...command.matchAll(/\{\{\.?([A-Za-z_]\w*)\}\}/g)].map(([, key]) => key))]

// Lines of NAME=value; null if there are none.
function envOf(text) {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  if (lines.length === 0) return null
  return Object.fromEntries(lines.map((line) => [line.split('=', 1)[0].trim(), line.includes('=') ? line.slice(line.indexOf('=') + 1) : '']))
}

function formOf(tool) {
  return {
    name: tool?.name ?? '',
    description: tool?.description ?? '',
    command: tool?.command ?? '',
    parameters: textOf(tool?.parameters ?? BEGINNING),
    env: '',
    place: tool?.working_dir ?? '',
    timeout: String(tool?.timeout_seconds ?? 60),
    agent: tool?.agent_id ?? '',
    effect: tool?.effect_class ?? 'unsafe',
    groups: (tool?.acknowledged_groups ?? []).join(', '),
  }
}
