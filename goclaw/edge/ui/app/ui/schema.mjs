// An object asked for by its JSON Schema: a form made of it, or the JSON itself.
import { useState } from 'preact/hooks'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { JsonField, objectOf, textOf } from './json.mjs'

// `value` is an object; `onValue` gets what it became, or null while it is none.
export function SchemaField({ label, schema, value, rows = 6, onValue }) {
  const top = whole(schema, schema.$defs)
  const formed = Object.keys(top.properties ?? {}).length > 0
  const [raw, setRaw] = useState(!formed)
  const [text, setText] = useState(() => textOf(value))
  const onText = (written) => {
    setText(written)
    onValue(objectOf(written))
  }
  const turn = () => {
    setText(textOf(value))
    setRaw(!raw)
  }
  return html`
    <fieldset class="schema"><legend>${label}</legend>
      ${formed && html`<button type="button" class="quiet" aria-pressed=${String(raw)} disabled=${value === null} onClick=${turn}>JSON</button>`}
      ${raw ? html`<${JsonField} label=${html`<span class="unseen">${label}</span>`} text=${text} rows=${rows} onText=${onText} />` : html`<${Fields} schema=${top} defs=${schema.$defs} value=${value} onValue=${onValue} />`}
    </fieldset>`
}

const Fields = ({ schema, defs, value, onValue }) =>
  Object.entries(schema.properties).map(([name, part]) => {
    const put = (next) => {
      const { [name]: before, ...rest } = value
      onValue(next === undefined ? rest : { ...rest, [name]: next })
    }
    return html`<${Field} key=${name} name=${name} schema=${whole(part, defs)} defs=${defs} value=${value[name]} required=${schema.required?.includes(name)} onValue=${put} />`
  })

function Field({ name, schema, defs, value, required, onValue }) {
  const { type, enum: choices, description, default: usual } = schema
  const help = description && html`<small class="muted">${description}</small>`
  const named = html`<span class="mono">${name}${required && ' *'}</span>${help}`
  if (choices) {
    return html`<label class="field">${named}<select onChange=${(event) => onValue(choices[event.target.selectedIndex - 1])}>
      <option selected=${value === undefined}>${usual === undefined ? '' : t('schema.usual', { value: String(usual) })}</option>
      ${choices.map((one) => html`<option key=${one} selected=${one === value}>${String(one)}</option>`)}</select></label>`
  }
  if (type === 'boolean') {
    return html`<label class="check"><input type="checkbox" checked=${value ?? usual ?? false} onChange=${(event) => onValue(event.target.checked)} />${named}</label>`
  }
  if (type === 'integer' || type === 'number') {
    const number = ({ target }) => onValue(target.value === '' ? undefined : Number(target.value))
    return html`<label class="field">${named}<input type="number" min=${schema.minimum} max=${schema.maximum} step=${type === 'integer' ? 1 : 'any'}
      required=${required} placeholder=${usual} value=${value ?? ''} onInput=${number} /></label>`
  }
  if (type === 'string') {
    const put = ({ target }) => onValue(target.value === '' && !required ? undefined : target.value)
    return html`<label class="field">${named}<textarea rows=${(value ?? '').includes('\n') ? 4 : 1} maxlength=${schema.maxLength} spellcheck=${false}
      placeholder=${usual} value=${value ?? ''} onInput=${put} /></label>`
  }
  if (type === 'object' && schema.properties) {
    return html`<fieldset class="schema inner"><legend class="mono">${name}</legend>${help}<${Fields} schema=${schema} defs=${defs} value=${value ?? usual ?? {}} onValue=${onValue} /></fieldset>`
  }
  const lines = type === 'array' && whole(schema.items ?? {}, defs).type === 'string'
  return html`<${Written} named=${named} lines=${lines} value=${value ?? usual} onValue=${onValue} />`
}

// A list of texts, one in each line, or anything else as JSON.
function Written({ named, lines, value, onValue }) {
  const [text, setText] = useState(() => (value === undefined ? '' : lines ? value.join('\n') : textOf(value)))
  const [broken, setBroken] = useState(false)
  const onInput = ({ target }) => {
    setText(target.value)
    try {
      onValue(target.value.trim() === '' ? undefined : lines ? target.value.split('\n').map((line) => line.trim()).filter(Boolean) : JSON.parse(target.value))
      setBroken(false)
    } catch {
      setBroken(true)
    }
  }
  return html`<label class="field"><span>${named}${lines && html`<small class="muted">${t('schema.lines')}</small>`}</span>
    <textarea class="mono" rows="3" spellcheck=${false} aria-invalid=${String(broken)} value=${text} onInput=${onInput} /></label>`
}

// A schema with its references followed; of alternatives the first that is not null.
function whole(schema, defs = {}) {
  if (schema.$ref) return { ...whole(defs[schema.$ref.split('/').at(-1)] ?? {}, defs), ...(schema.default !== undefined && { default: schema.default }) }
  const one = schema.anyOf?.find(({ type }) => type !== 'null')
  return one ? { ...whole(one, defs), description: schema.description ?? one.description } : schema
}

// What must be there, each with something of its kind.
export function exampleOf({ properties = {}, required = [] }) {
  const kinds = { string: '', integer: 1, number: 1, boolean: false, array: [], object: {} }
  return Object.fromEntries(required.map((name) => [name, properties[name]?.enum?.[0] ?? kinds[properties[name]?.type] ?? '']))
}
