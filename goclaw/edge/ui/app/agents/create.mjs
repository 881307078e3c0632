// Makes an agent: open, where each user has files of his own, or predefined, whose files a model may write.
import { useState } from 'preact/hooks'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Dialog } from '../ui/dialog.mjs'
import { Icon, reasonOf } from '../ui/parts.mjs'

const TYPES = ['open', 'predefined']
// What a copy has from its original besides the fields of the form.
const COPIED = ['frontmatter', 'avatar', 'fallback_models', 'context_window', 'max_tool_iterations', 'max_tokens', 'temperature', 'restrict_to_workspace', 'budget_monthly_cents', 'tools_config']
const CONFIGS = ['subagents_config', 'sandbox_config', 'memory_config', 'compaction_config', 'context_pruning', 'other_config']
const keyOf = (name) => name.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 100)

// `of` is the agent that is copied, if any.
export function CreateForm({ of, onDone, onClose }) {
  const [form, setForm] = useState(() => formOf(of))
  const [trouble, setTrouble] = useState('')
  const put = (name) => (event) => setForm({ ...form, [name]: event.target.value })
  const onName = (event) => setForm({ ...form, name: event.target.value, key: form.key === keyOf(form.name) ? keyOf(event.target.value) : form.key })
  const onSubmit = async () => {
    const { name, key, type, emoji, description, provider, model } = form
    const optional = Object.entries({ emoji, description, provider, model }).filter(([, text]) => text.trim() !== '')
    try {
      const { agent } = await gateway.call('agents.create', { ...copied(of), agent_key: key, display_name: name.trim(), agent_type: type, ...Object.fromEntries(optional) })
      onDone(agent)
    } catch (refusal) {
      setTrouble(reasonOf(refusal))
    }
  }
  const ready = form.name.trim() !== '' && /^[a-z0-9][a-z0-9-]{0,99}$/.test(form.key)
  const yes = form.type === 'predefined' && form.description.trim() ? 'agents.summon' : 'agents.create'
  return html`
    <${Dialog} title=${t(of ? 'agents.copy' : 'agents.new')} yes=${t(yes)} ready=${ready} onSubmit=${onSubmit} onClose=${onClose}>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      <div class="pair wide"><label class="field">${t('agents.field.display_name')}<input maxlength="255" required value=${form.name} onInput=${onName} /></label>
        <label class="field">${t('agents.field.emoji')}<input maxlength="16" value=${form.emoji} onInput=${put('emoji')} /></label></div>
      <label class="field">${t('agents.field.key')}<input class="mono" maxlength="100" required spellcheck=${false} value=${form.key} onInput=${put('key')} /></label>
      <fieldset class="kinds"><legend>${t('agents.field.type')}</legend>
        ${TYPES.map((type) => html`<label key=${type} class="check"><input type="radio" name="type" value=${type} checked=${form.type === type} onChange=${put('type')} />${t(`agents.type.${type}.hint`)}</label>`)}</fieldset>
      <label class="field">${t(form.type === 'predefined' ? 'agents.field.summons' : 'agents.field.description')}
        <textarea rows="4" maxlength="4000" value=${form.description} onInput=${put('description')} /></label>
      <div class="pair"><label class="field">${t('agents.field.provider')}<input maxlength="50" spellcheck=${false} placeholder=${t('agents.inherited')} value=${form.provider} onInput=${put('provider')} /></label>
        <label class="field">${t('agents.field.model')}<input maxlength="200" spellcheck=${false} placeholder=${t('agents.inherited')} value=${form.model} onInput=${put('model')} /></label></div>
    <//>`
}

const copied = (of) => of && Object.fromEntries([...COPIED, ...CONFIGS].map((name) => [name, of[name]]))

function formOf(of) {
  if (!of) return { name: '', key: '', emoji: '', type: 'open', description: '', provider: '', model: '' }
  const { emoji, agent_type: type, description, provider, model } = of
  return { name: of.display_name, key: `${of.agent_key.slice(0, 98)}-2`, emoji, type, description, provider, model }
}
