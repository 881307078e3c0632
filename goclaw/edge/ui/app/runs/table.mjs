// Rows of runs, on their page and on that of their agent.
import { duration } from '../core/format.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { href } from '../core/router.mjs'
import { Ago } from '../ui/parts.mjs'
import { OPEN, State, times } from './states.mjs'

export const RunTable = ({ runs }) => html`
    <div class="scroll-x"><table class="table run-table">
      <thead><tr>
        <th scope="col">${t('runs.col.run')}</th><th scope="col">${t('runs.col.state')}</th><th scope="col">${t('runs.col.kind')}</th>
        <th scope="col">${t('runs.col.agent')}</th><th scope="col">${t('runs.col.user')}</th><th scope="col">${t('runs.col.lane')}</th>
        <th scope="col" class="number">${t('runs.col.priority')}</th><th scope="col" class="number">${t('runs.col.attempt')}</th>
        <th scope="col" class="number">${t('runs.col.waited')}</th><th scope="col" class="number">${t('runs.col.worked')}</th>
        <th scope="col">${t('runs.col.created')}</th>
      </tr></thead>
      <tbody>${runs.map((run) => html`<${Row} key=${run.id} run=${run} />`)}</tbody>
    </table></div>`

function Row({ run }) {
  const { waited, worked, due } = times(run)
  return html`
    <tr data-open=${OPEN.includes(run.state)}>
      <td><a href=${href('runs', {}, run.id)} title=${run.content_preview}>${run.content_preview || run.id.slice(-8)}</a>
        ${run.error && html`<small class="run-error" title=${run.error.message}>${run.error.message}</small>`}</td>
      <td><${State} state=${run.state} sub=${run.sub_status} /></td>
      <td>${t(`runs.kind.${run.kind}`)}</td>
      <td>${run.agent_key}</td>
      <td>${run.user_id}</td>
      <td>${run.lane}</td>
      <td class="number">${number(run.priority)}</td>
      <td class="number">${number(run.attempt)}/${number(run.max_attempts)}</td>
      <td class="number">${due ? html`<${Ago} at=${due} />` : duration(waited)}</td>
      <td class="number">${worked == null ? '' : duration(worked)}</td>
      <td><${Ago} at=${run.created_at} /></td>
    </tr>`
}
