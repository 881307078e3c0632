// How an agent works: who answers, limits, thinking, tools, and what cannot be undone.
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { JsonField, objectOf } from '../ui/json.mjs'
import { Icon } from '../ui/parts.mjs'
import { Danger } from './danger.mjs'
import { AgentForm, check, field } from './form.mjs'
import { LEVELS, list, manages } from './words.mjs'

const WHOLE = ['context_window', 'max_tool_iterations', 'max_tokens'] // numbers, sent as such
const PROFILES = ['full', 'coding', 'messaging', 'minimal']
const OBJECTS = ['tools_config', 'subagents_config', 'sandbox_config', 'memory_config', 'compaction_config', 'context_pruning', 'other_config']
const RULES = ['allow', 'deny', 'alsoAllow']

export const Config = ({ one, own, onDone }) => html`
  <h3>${t('agents.section.model')}</h3>
  <${AgentForm} one=${one} own=${own} label=${t('agents.section.model')} read=${readModel} wish=${wishModel}>
    ${(form, put) => {
      const input = field(form, put)
      return html`
        <div class="pair">${input('provider', { maxlength: 50, spellcheck: false })}${input('model', { maxlength: 200, spellcheck: false })}</div>
        ${input('fallback_models', { class: 'mono', spellcheck: false })}
        <div class="pair">${input('context_window', { type: 'number', min: 1024, max: 10_000_000, required: true })}${input('max_tool_iterations', { type: 'number', min: 1, max: 200, required: true })}</div>
        <div class="pair">${input('max_tokens', { type: 'number', min: 1, max: 1_000_000 })}${input('temperature', { type: 'number', min: 0, max: 2, step: 'any' })}</div>
        <div class="pair"><label class="field">${t('agents.field.thinking_level')}<${Level} value=${form.thinking_level} onChange=${put('thinking_level')} /></label>
          ${input('budget', { type: 'number', min: 0, max: 20_000_000, step: '0.01' })}</div>
        ${input('workspace', { class: 'mono', maxlength: 1000, spellcheck: false })}
        <div class="checks">${check(form, put)('restrict_to_workspace')}${check(form, put)('a2a_public')}</div>`
    }}
  <//>
  <h3>${t('agents.section.tools')}</h3>
  <${AgentForm} one=${one} own=${own} label=${t('agents.section.tools')} read=${readTools} wish=${(form) => wishTools(one, form)}>
    ${(form, put) => html`
      <label class="field">${t('agents.field.profile')}<select onChange=${put('profile')}>
        <option value="" selected=${form.profile === ''}>${t('agents.inherited')}</option>
        ${PROFILES.map((name) => html`<option key=${name} value=${name} selected=${form.profile === name}>${name}</option>`)}</select></label>
      ${RULES.map((name) => field(form, put)(name, { key: name, class: 'mono', spellcheck: false }))}
      <p class="muted">${t('agents.tools.hint')}</p>`}
  <//>
  <details><summary><${Icon} name="chevron-right" />${t('agents.section.more')}</summary>
    <${AgentForm} one=${one} own=${own} label=${t('agents.section.more')} read=${readMore} wish=${wishMore}>
      ${(form, put) => html`<p class="muted">${t('agents.more.hint')}</p>
        ${OBJECTS.map((name) => html`<${JsonField} key=${name} label=${html`<code>${name}</code>`} text=${form[name]} rows="3" onText=${(text) => put(name)({ target: { value: text } })} />`)}`}
    <//></details>
  ${manages(one) && html`<${Danger} one=${one} onDone=${onDone} />`}`

export const Level = ({ value, onChange }) => html`<select onChange=${onChange}>
  <option value="" selected=${value === ''}>${t('agents.inherited')}</option>
  ${LEVELS.map((level) => html`<option key=${level} value=${level} selected=${level === value}>${level}</option>`)}</select>`

const text = (value) => (value == null ? '' : String(value))

const readModel = (one) => ({
  ...Object.fromEntries(['provider', 'model', 'context_window', 'max_tool_iterations', 'max_tokens', 'temperature', 'thinking_level', 'workspace'].map((name) => [name, text(one[name])])),
  fallback_models: one.fallback_models.join(', '),
  budget: one.budget_monthly_cents == null ? '' : String(one.budget_monthly_cents / 100),
  restrict_to_workspace: one.restrict_to_workspace,
  a2a_public: one.a2a_public,
})

function wishModel(form, changed) {
  const told = (name) => {
    if (name === 'budget') return ['budget_monthly_cents', form.budget === '' ? null : Math.round(Number(form.budget) * 100)]
    if (name === 'fallback_models') return [name, list(form.fallback_models)]
    if (name === 'temperature' || WHOLE.includes(name)) return [name, form[name] === '' ? null : Number(form[name])]
    return [name, name === 'thinking_level' ? form[name] || null : form[name]]
  }
  return Object.fromEntries(changed.map(told))
}

const readTools = ({ tools_config: rules }) => ({
  profile: rules.profile ?? '',
  ...Object.fromEntries(RULES.map((name) => [name, (rules[name] ?? []).join(', ')])),
})

// What this form does not know of the rules (by provider) stays.
function wishTools({ tools_config: rules }, form) {
  const { profile, allow, deny, alsoAllow, ...rest } = rules
  const lists = RULES.map((name) => [name, list(form[name])]).filter(([, names]) => names.length > 0)
  return { tools_config: { ...rest, ...(form.profile && { profile: form.profile }), ...Object.fromEntries(lists) } }
}

// An empty text switches the feature off.
const readMore = (one) => Object.fromEntries(OBJECTS.map((name) => [name, one[name] == null ? '' : JSON.stringify(one[name], null, 2)]))
const wishMore = (form, changed) => Object.fromEntries(changed.map((name) => [name, form[name].trim() === '' ? null : (objectOf(form[name]) ?? form[name])]))
