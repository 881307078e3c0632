// What can be done to a run, by whom, and what became of it.
import { useSignal } from '@preact/signals'
import { gateway, may, request } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { go } from '../core/router.mjs'
import { confirm } from '../ui/confirm.mjs'
import { Icon, reasonOf } from '../ui/parts.mjs'
import { AGAIN, OPEN } from './states.mjs'

export function Acts({ run, onDone }) {
  const busy = useSignal('')
  const trouble = useSignal('')
  const act = (name, work) => async () => {
    busy.value = name
    trouble.value = ''
    try {
      await work()
      onDone()
    } catch (error) {
      trouble.value = reasonOf(error)
    }
    busy.value = ''
  }
  const ask = (method, more) => gateway.call(method, { runId: run.id, ...more })
  const again = (fresh) => async () => {
    const { run: next } = await ask('runs.retry', fresh ? { fresh } : {})
    if (next.id !== run.id) go('runs', {}, next.id)
  }
  const acts = {
    cancel: may('operator') && OPEN.includes(run.state) && !run.cancel_requested && (async () => {
      if (await confirm(t('runs.ask.cancel'), run.content_preview, t('runs.act.cancel'))) await ask('runs.cancel')
    }),
    retry: may('operator') && AGAIN.includes(run.state) && again(false),
    fresh: may('operator') && AGAIN.includes(run.state) && again(true),
    export: may('operator') && (() => save('GET', 'export', `run-${run.id.slice(0, 8)}.json`, run)),
    bundle: may('admin') && (() => save('POST', 'incident', `incident-${run.id.slice(0, 8)}.tar.gz`, run)),
    discard: may('admin') && run.state === 'DEAD_LETTER' && (async () => {
      if (!(await confirm(t('runs.ask.discard'), run.content_preview, t('runs.act.discard')))) return
      await save('GET', 'export', `run-${run.id.slice(0, 8)}.json`, run)
      await ask('runs.purge')
      go('runs', { state: 'DEAD_LETTER' })
    }),
  }
  const possible = Object.entries(acts).filter(([, work]) => work)
  return html`
    <div class="act run-acts">
      ${possible.map(([name, work]) => html`
        <button type="button" key=${name} disabled=${busy.value !== ''} onClick=${act(name, work)} title=${t(`runs.act.${name}.hint`)}>
          <${Icon} name=${ICONS[name]} />${t(`runs.act.${name}`)}</button>`)}
    </div>
    ${trouble.value && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble.value}</span></p>`}`
}

const ICONS = { cancel: 'square', retry: 'rotate-cw', fresh: 'rotate-cw', export: 'download', bundle: 'download', discard: 'x' }

async function save(method, what, name, { id }) {
  const answer = await request(method, `/v1/runs/${id}/${what}`, { accept: '*/*' })
  const link = document.createElement('a')
  link.href = URL.createObjectURL(await answer.blob())
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 0)
}
