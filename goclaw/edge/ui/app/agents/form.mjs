// Fields of an agent that are saved together: only what was changed is sent.
import { useEffect, useState } from 'preact/hooks'
import { request } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Icon, reasonOf, say } from '../ui/parts.mjs'

export const change = async (one, values) => (await request('PUT', `/v1/agents/${one.id}`, { body: values })).json()

// `read(agent)` gives the fields' texts, `wish(form, changed)` what the gateway is told of them.
export function AgentForm({ one, label, own, read, wish, children }) {
  const [kept, setKept] = useState(() => read(one))
  const [form, setForm] = useState(kept)
  const [trouble, setTrouble] = useState('')
  const changed = Object.keys(form).filter((name) => form[name] !== kept[name])
  useEffect(() => {
    const fresh = read(one)
    const merged = (now) => Object.fromEntries(Object.keys(fresh).map((name) => [name, now[name] === kept[name] ? fresh[name] : now[name]]))
    setForm(merged) // what is being written stays
    setKept(fresh)
  }, [one.updated_at])
  const put = (name) => (event) => setForm({ ...form, [name]: event.target.type === 'checkbox' ? event.target.checked : event.target.value })
  const onSubmit = async (event) => {
    event.preventDefault()
    try {
      const agent = await change(one, wish(form, changed))
      setKept(read(agent))
      setForm(read(agent))
      setTrouble('')
      say(t('agents.did.save'))
    } catch (refusal) {
      setTrouble(reasonOf(refusal))
    }
  }
  return html`
    <form class="agent-form" aria-label=${label} onSubmit=${onSubmit}>
      <fieldset disabled=${!own}>${children(form, put)}</fieldset>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      ${own && html`<div class="saves"><button type="submit" class="primary" disabled=${changed.length === 0}>${t('save')}</button>
        ${changed.length > 0 && html`<button type="button" onClick=${() => setForm(kept)}>${t('cancel')}</button>`}</div>`}
    </form>`
}

// A labelled input of a form: `field(form, put)(name, attributes)`.
export const field = (form, put) => (name, more) => html`
  <label class="field">${t(`agents.field.${name}`)}<input value=${form[name]} onInput=${put(name)} ...${more} /></label>`
export const check = (form, put) => (name) => html`
  <label class="check"><input type="checkbox" checked=${form[name]} onChange=${put(name)} />${t(`agents.field.${name}`)}</label>`
