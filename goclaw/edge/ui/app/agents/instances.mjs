// Who talks to an agent: since when, what is known of them, and the files it has for each (edge-http.md §5).
import { useEffect, useState } from 'preact/hooks'
import { get, request } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { refine, route } from '../core/router.mjs'
import { JsonField, objectOf, textOf } from '../ui/json.mjs'
import { Table } from '../ui/list.mjs'
import { Ago, Empty, Icon, IconButton, reasonOf, say, Skeleton, Trouble } from '../ui/parts.mjs'

const PAGE = 50 // rows
const COLUMNS = ['user', 'known', 'first', 'last', 'files']
const WRITTEN = 'USER.md' // the one file that is written for a user from outside

export function Instances({ one, live }) {
  const [page, setPage] = useState(null)
  const [offset, setOffset] = useState(0)
  const [error, setError] = useState(null)
  const { user: chosen } = route.value.query
  const read = () => get(`/v1/agents/${one.id}/instances`, { limit: PAGE, offset }).then((found) => (setPage(found), setError(null)), setError)
  useEffect(() => {
    if (live) read()
  }, [one.id, offset, live])
  if (error) return html`<${Trouble} error=${error} retry=${read} />`
  if (!page) return html`<${Skeleton} />`
  const { instances, total } = page
  if (total === 0) return html`<${Empty} title=${t('agents.people.none', { name: one.display_name })} hint=${t('agents.people.none.hint')} />`
  const to = offset + instances.length
  const person = instances.find(({ user_id: user }) => user === chosen)
  return html`
    <${Table} kind="people" words=${(name) => t(`agents.people.${name}`)} columns=${COLUMNS} numbers=${['files']} acts=${false}>
      ${instances.map(({ user_id: user, metadata, first_seen_at: first, last_seen_at: last, file_count: files }) => html`<tr key=${user} aria-selected=${user === chosen ? 'true' : undefined}>
        <td><button type="button" class="quiet" aria-expanded=${String(user === chosen)} onClick=${() => refine({ user: user === chosen ? '' : user })}>${user}</button></td>
        <td>${metadata.display_name ?? metadata.chat_title ?? ''}</td><td><${Ago} at=${first} /></td><td><${Ago} at=${last} /></td><td class="number">${files}</td></tr>`)}<//>
    ${total > PAGE && html`<nav class="pager" aria-label=${t('audit.pages')}><span>${t('pager.range', { from: offset + 1, to, total })}</span>
      <button type="button" disabled=${offset === 0} onClick=${() => setOffset(Math.max(0, offset - PAGE))}>${t('pager.previous')}</button>
      <button type="button" disabled=${to >= total} onClick=${() => setOffset(to)}>${t('pager.next')}</button></nav>`}
    ${person && html`<${Person} key=${chosen} one=${one} person=${person} onDone=${read} />`}`
}

function Person({ one, person, onDone }) {
  const at = `/v1/agents/${one.id}/instances/${encodeURIComponent(person.user_id)}`
  const [files, setFiles] = useState(null)
  const [metadata, setMetadata] = useState(textOf(person.metadata))
  const [trouble, setTrouble] = useState('')
  const read = () => get(`${at}/files`).then((found) => setFiles(found.files), (refusal) => setTrouble(reasonOf(refusal)))
  useEffect(() => {
    read()
  }, [at])
  const keep = (verb, path, body) => async (event) => {
    event.preventDefault()
    try {
      await request(verb, `${at}/${path}`, { body: body() })
      setTrouble('')
      say(t('agents.did.person', { user: person.user_id }))
      read()
      onDone()
    } catch (refusal) {
      setTrouble(reasonOf(refusal))
    }
  }
  const known = objectOf(metadata)
  // A member that is gone from the text is taken away, which the gateway is told by a null.
  const changes = () => ({ ...Object.fromEntries(Object.keys(person.metadata).map((name) => [name, null])), ...known })
  const written = files && (files.find(({ file_name: name }) => name === WRITTEN)?.content ?? '')
  return html`
    <section class="person" aria-label=${person.user_id}>
      <header class="page-bar"><h3>${person.user_id}</h3><${IconButton} icon="x" label=${t('close')} onClick=${() => refine({ user: '' })} /></header>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      ${files === null ? html`<${Skeleton} rows=${3} />` : html`
        <${Written} key=${written} text=${written} keep=${(text) => keep('PUT', `files/${WRITTEN}`, () => ({ content: text }))} />
        ${files.filter(({ file_name: name }) => name !== WRITTEN).map(({ file_name: name, content }) => html`<details key=${name}><summary><${Icon} name="chevron-right" />${name}</summary><pre class="mono" tabindex="0">${content}</pre></details>`)}`}
      <form onSubmit=${keep('PATCH', 'metadata', changes)}><${JsonField} label=${t('agents.people.metadata')} text=${metadata} rows="3" onText=${setMetadata} />
        <div class="saves"><button type="submit" disabled=${known === null || metadata === textOf(person.metadata)}>${t('save')}</button></div></form>
    </section>`
}

function Written({ text: kept, keep }) {
  const [text, setText] = useState(kept)
  return html`<form onSubmit=${keep(text)}>
    <label class="field"><span>${WRITTEN}</span><textarea class="mono" rows="6" maxlength="65536" spellcheck=${false} value=${text} onInput=${(event) => setText(event.target.value)} /></label>
    <div class="saves"><button type="submit" class="primary" disabled=${text === kept}>${t('save')}</button></div></form>`
}
