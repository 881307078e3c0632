// The files an agent has for everybody: which there are, what is in them, and giving them to users who have their own.
import { useEffect, useState } from 'preact/hooks'
import { compact } from '../core/format.mjs'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { refine, route } from '../core/router.mjs'
import { confirm } from '../ui/confirm.mjs'
import { Icon, reasonOf, say, Skeleton, Trouble } from '../ui/parts.mjs'

export function Files({ one, turn }) {
  const [files, setFiles] = useState(null)
  const [error, setError] = useState(null)
  const { file: chosen = 'SOUL.md' } = route.value.query
  const read = () => gateway.call('agents.files.list', { agent_id: one.agent_key }).then((answer) => (setFiles(answer.files), setError(null)), setError)
  useEffect(() => {
    read()
  }, [one.id, turn])
  if (error) return html`<${Trouble} error=${error} retry=${read} />`
  if (!files) return html`<${Skeleton} />`
  return html`<div class="agent-files">
    <ul aria-label=${t('agents.tab.files')}>${files.map(({ name, missing, size }) => html`<li key=${name}>
      <button type="button" class="quiet" aria-pressed=${String(name === chosen)} data-missing=${String(missing)} onClick=${() => refine({ file: name })}>
        <span>${name}</span><small>${missing ? t('agents.file.missing') : t('agents.file.size', { size: compact(size) })}</small></button></li>`)}</ul>
    <${Editor} key=${`${one.id} ${chosen}`} one=${one} name=${chosen} turn=${turn} onDone=${read} />
  </div>`
}

function Editor({ one, name, turn, onDone }) {
  const [kept, setKept] = useState(null) // null until it was read
  const [text, setText] = useState('')
  const [spread, setSpread] = useState(false)
  const [trouble, setTrouble] = useState('')
  const own = may('admin')
  useEffect(() => {
    let wanted = true
    gateway.call('agents.files.get', { agent_id: one.agent_key, name }).then(
      ({ file: { content = '' } }) => {
        if (!wanted) return
        setText((now) => (kept === null || now === kept ? content : now)) // what is being written stays
        setKept(content)
      },
      (refusal) => wanted && setTrouble(reasonOf(refusal)),
    )
    return () => (wanted = false)
  }, [turn])
  const onSubmit = async (event) => {
    event.preventDefault()
    if (spread && !(await confirm(t('agents.file.propagate.ask'), name, t('save')))) return
    try {
      const { propagated } = await gateway.call('agents.files.set', { agent_id: one.agent_key, name, content: text, propagate: spread })
      setKept(text)
      setTrouble('')
      say(spread ? t('agents.did.propagate', { name, n: propagated }) : t('agents.did.file', { name }))
      onDone()
    } catch (refusal) {
      setTrouble(reasonOf(refusal))
    }
  }
  return html`
    <form onSubmit=${onSubmit}>
      <label class="field"><span>${name}</span><textarea class="mono" rows="18" spellcheck=${false} readonly=${!own} disabled=${kept === null} value=${text} onInput=${(event) => setText(event.target.value)} /></label>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      ${own && html`<div class="saves">
        <button type="submit" class="primary" disabled=${kept === null || (text === kept && !spread)}>${t('save')}</button>
        ${name !== 'HEARTBEAT.md' && html`<label class="check"><input type="checkbox" checked=${spread} onChange=${(event) => setSpread(event.target.checked)} />${t('agents.file.propagate')}</label>`}
        <span class="grow"></span><small class="muted">${t('agents.file.chars', { n: text.length })}</small></div>`}
    </form>`
}
