// Makes or changes a hook. Its secrets are written, never read: what stays empty stays as it is (tools.md §22).
import { useState } from 'preact/hooks'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Dialog } from '../ui/dialog.mjs'
import { Icon, reasonOf } from '../ui/parts.mjs'

export const EVENTS = ['session_start', 'user_prompt_submit', 'pre_tool_use', 'post_tool_use', 'stop', 'subagent_start', 'subagent_stop']
const HANDLERS = ['command', 'http', 'prompt']
const SCOPES = ['tenant', 'agent', 'global']

// `hook` is the one to change, if any.
export function HookForm({ hook, agents, onDone, onClose }) {
  const [form, setForm] = useState(() => formOf(hook))
  const [trouble, setTrouble] = useState('')
  const set = (name) => ({ target }) => setForm({ ...form, [name]: target.type === 'checkbox' ? target.checked : target.value })
  const give = (id) => ({ target }) => setForm({ ...form, agents: target.checked ? [...form.agents, id] : form.agents.filter((one) => one !== id) })
  const onSubmit = async () => {
    const wanted = wishOf(form)
    try {
      await (hook ? gateway.call('hooks.update', { hookId: hook.id, updates: wanted }) : gateway.call('hooks.create', wanted))
      onDone()
    } catch (refusal) {
      setTrouble(reasonOf(refusal))
    }
  }
  const choose = (name, options) => html`<label class="field">${t(`hooks.col.${name}`)}<select onChange=${set(name)}>
    ${options.map((one) => html`<option key=${one} value=${one} selected=${one === form[name]}>${t(`hooks.${name}.${one}`)}</option>`)}</select></label>`
  const input = (name, more) => html`<label class="field">${t(`hooks.field.${name}`)}<input value=${form[name]} onInput=${set(name)} ...${more} /></label>`
  const text = (name, more) => html`<label class="field">${t(`hooks.field.${name}`)}<textarea class="mono" spellcheck=${false} value=${form[name]} onInput=${set(name)} ...${more} /></label>`
  const secrets = (of) => text(`secrets.${of}`, { rows: 2, autocomplete: 'off', placeholder: hook?.secretNames.length ? t('tools.env.keep', { names: hook.secretNames.join(', ') }) : '' })
  const ready = form[form.handler].trim() !== '' && (form.scope !== 'agent' || form.agents.length > 0) && Number(form.timeout) > 0
  return html`
    <${Dialog} title=${t(hook ? 'hooks.edit' : 'hooks.new')} yes=${t('save')} ready=${ready} onSubmit=${onSubmit} onClose=${onClose}>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      ${input('name', { maxlength: 255 })}
      <div class="pair">${choose('event', EVENTS)}${choose('handler', HANDLERS)}</div>
      ${form.handler === 'command' && html`${text('command', { rows: 2, maxlength: 16384 })}${input('env', { class: 'mono', spellcheck: false })}${secrets('command')}`}
      ${form.handler === 'http' && html`${input('http', { class: 'mono', type: 'url', maxlength: 2048, spellcheck: false })}${text('headers', { rows: 2 })}${secrets('http')}
        <div class="checks"><label class="check"><input type="checkbox" checked=${form.inside} onChange=${set('inside')} />${t('hooks.field.inside')}</label></div>`}
      ${form.handler === 'prompt' && html`${text('prompt', { rows: 3, maxlength: 8000 })}${input('model', { class: 'mono', maxlength: 200, spellcheck: false })}`}
      <div class="pair">${input('matcher', { class: 'mono', maxlength: 500, spellcheck: false, placeholder: '^exec$' })}${input('condition', { class: 'mono', spellcheck: false, placeholder: 'depth > 0' })}</div>
      <div class="pair">${choose('scope', SCOPES)}${choose('on_timeout', ['block', 'allow'])}
        ${input('timeout', { type: 'number', min: 1, max: 10_000 })}${input('priority', { type: 'number', min: -1_000_000, max: 1_000_000 })}</div>
      ${form.scope === 'agent' && html`<fieldset class="kinds"><legend>${t('page.agents')}</legend>
        ${agents.map(({ agentId, name }) => html`<label key=${agentId} class="check"><input type="checkbox" checked=${form.agents.includes(agentId)} onChange=${give(agentId)} />${name}</label>`)}</fieldset>`}
      <div class="checks"><label class="check"><input type="checkbox" checked=${form.enabled} onChange=${set('enabled')} />${t('hooks.field.enabled')}</label></div>
    <//>`
}

function wishOf(form) {
  const secrets = pairs(form[`secrets.${form.handler}`] ?? '')
  const config = {
    command: () => ({ command: form.command, env: form.env.split(/[\s,]+/).filter(Boolean) }),
    http: () => ({ url: form.http, headers: pairs(form.headers), allow_private_network: form.inside }),
    prompt: () => ({ prompt: form.prompt, model: form.model }),
  }[form.handler]()
  return {
    name: form.name,
    event: form.event,
    handlerType: form.handler,
    scope: form.scope,
    agentIds: form.scope === 'agent' ? form.agents : [],
    matcher: form.matcher || null,
    ifExpr: form.condition || null,
    timeoutMs: Number(form.timeout),
    onTimeout: form.on_timeout,
    priority: Number(form.priority),
    enabled: form.enabled,
    config: { ...config, ...(Object.keys(secrets).length > 0 && { secrets }) },
  }
}

// Lines of NAME=value.
const pairs = (text) => Object.fromEntries(text.split('\n').filter((line) => line.includes('=')).map((line) => [line.split('=', 1)[0].trim(), line.slice(line.indexOf('=') + 1).trim()]))
const lines = (object) => Object.entries(object).map(([name, value]) => `${name}=${value}`).join('\n')

function formOf(hook) {
  const { command = '', env = [], url = '', headers = {}, allow_private_network: inside = false, prompt = '', model = '' } = hook?.config ?? {}
  return {
    name: hook?.name ?? '',
    event: hook?.event ?? 'pre_tool_use',
    handler: hook?.handlerType ?? 'command',
    scope: hook?.scope ?? 'tenant',
    agents: hook?.agentIds ?? [],
    matcher: hook?.matcher ?? '',
    condition: hook?.ifExpr ?? '',
    timeout: String(hook?.timeoutMs ?? 5000),
    on_timeout: hook?.onTimeout ?? 'block',
    priority: String(hook?.priority ?? 0),
    enabled: hook?.enabled ?? true,
    command: Array.isArray(command) ? command.map((word) => `'${word.replaceAll("'", `'"'"'`)}'`).join(' ') : command,
    env: env.join(', '),
    http: url,
    headers: lines(headers),
    inside,
    prompt,
    model,
    'secrets.command': '',
    'secrets.http': '',
  }
}
