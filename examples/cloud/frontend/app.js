// UI only: everything goes through the API, whose address the build puts in.
const api = import.meta.env.VITE_API_BASE_URL;
const answer = await fetch(`${api}/api/companies`, { headers: { "X-API-Key": sessionStorage.getItem("key") } });
for (const company of await answer.json()) {
  const item = document.createElement("li");
  item.textContent = `${company.name} (${company.revenueMsek} MSEK)`;
  document.querySelector("#companies").append(item);
}
